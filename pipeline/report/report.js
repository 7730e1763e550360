"use strict";
// Sorts tables, filters by layer, recolors the floorplan. Without it the page reads the same.
(function () {
  const data = JSON.parse(document.getElementById("cores-data").textContent);
  const cores = Array.from(document.querySelectorAll(".core"));
  const filters = Array.from(document.querySelectorAll(".layer-filter"));
  const detail = document.getElementById("core-detail");
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const shown = (value) => value === null ? "–"
    : value.toLocaleString("en-US", {maximumFractionDigits: 2});
  const numberOf = (core) => Number(core.id.slice(5));

  // tables

  function key(cell) {
    const text = cell.dataset.n || cell.textContent.replace(/,/g, "");
    const number = text.trim() === "" ? NaN : Number(text);
    return Number.isNaN(number) ? cell.textContent : number;
  }

  function order(a, b) {
    // numbers before text, so that what is missing or unpriced stays together
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, "en", {numeric: true});
  }

  function sort(heading) {
    const body = heading.closest("table").tBodies[0];
    const isAscending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
    const rows = Array.from(body.rows, (row) => [key(row.cells[heading.cellIndex]), row]);
    rows.sort((a, b) => isAscending ? order(a[0], b[0]) : order(b[0], a[0]));
    body.append(...rows.map((pair) => pair[1]));
  }

  all("thead button").forEach((button) => {
    button.addEventListener("click", () => sort(button.closest("th")));
  });

  // filter by layer, of tables and floorplan together

  function filter(layer) {
    filters.forEach((select) => { select.value = layer; });
    const rows = all("table[data-by-layer] tbody tr");
    rows.forEach((row) => { row.hidden = layer !== "" && row.dataset.l !== layer; });
    cores.forEach((core) => {
      core.classList.toggle("faint", layer !== "" && core.dataset.l !== layer);
    });
    const n = cores.filter((core) => !core.classList.contains("faint")).length;
    document.getElementById("n-shown").textContent =
      layer === "" ? "" : n + " of " + cores.length + " cores shown; sums are of all";
  }

  filters.forEach((select) => {
    select.addEventListener("change", () => filter(select.value));
  });

  // floorplan: colors

  function channels(color) {
    return [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  }

  function rampColor(share) {
    const place = Math.min(Math.max(share, 0), 1) * (data.ramp.length - 1);
    const below = Math.min(Math.floor(place), data.ramp.length - 2);
    const low = channels(data.ramp[below]), high = channels(data.ramp[below + 1]);
    return low.map((c, i) => Math.round(c + (place - below) * (high[i] - c)));
  }

  function ink(rgb) {
    const [r, g, b] = rgb.map((c) => c / 255)
      .map((c) => c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
  }

  function recolor(counter) {
    const most = Math.max(0, ...counter.values.filter((value) => value !== null));
    cores.forEach((core) => {
      const value = counter.values[numberOf(core)];
      const rgb = rampColor((value || 0) / (most || 1));
      core.querySelector("rect").setAttribute("fill", "rgb(" + rgb.join(", ") + ")");
      core.querySelector("text").setAttribute("fill", ink(rgb));
      const name = core.querySelector("title").textContent;
      core.setAttribute("aria-label", name + "; " + counter.label + " " + shown(value));
    });
    document.getElementById("legend-name").textContent = counter.name;
    document.getElementById("legend-most").textContent = shown(most);
  }

  const picker = document.getElementById("counter");
  picker.addEventListener("change", () => recolor(data.counters[picker.value]));

  // floorplan: the numbers of one core, by pointer and by keyboard

  function line(term, value) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = value;
    return [dt, dd];
  }

  function tell(core) {
    const title = document.createElement("p"), list = document.createElement("dl");
    title.textContent = core.querySelector("title").textContent;
    data.counters.forEach((counter) => {
      const value = shown(counter.values[numberOf(core)]);
      list.append(...line(counter.name, value));
    });
    detail.replaceChildren(title, list);
  }

  let mark = null; // around the chosen core, above all others

  function choose(core) {
    if (mark) mark.remove();
    mark = core.querySelector("rect").cloneNode();
    mark.removeAttribute("fill");
    mark.setAttribute("class", "mark");
    core.parentNode.append(mark);
    cores.forEach((other) => {
      other.classList.toggle("chosen", other === core);
      other.setAttribute("tabindex", other === core ? "0" : "-1");
    });
    tell(core);
  }

  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

  function neighbor(core, dx, dy) {
    // the nearest core of the same chip in that direction, what lies straight ahead before the rest
    let best = null, least = Infinity;
    core.parentNode.querySelectorAll(".core").forEach((other) => {
      const x = other.dataset.x - core.dataset.x, y = other.dataset.y - core.dataset.y;
      const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (ahead > 0 && ahead + 3 * aside < least) {
        least = ahead + 3 * aside;
        best = other;
      }
    });
    return best;
  }

  cores.forEach((core, i) => {
    core.setAttribute("tabindex", i ? "-1" : "0");
    core.addEventListener("mouseenter", () => tell(core));
    core.addEventListener("mouseleave", () => {
      const chosen = document.querySelector(".core.chosen");
      if (chosen) tell(chosen);
    });
    core.addEventListener("click", () => choose(core));
    core.addEventListener("focus", () => choose(core));
    core.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      const next = step && neighbor(core, step[0], step[1]);
      if (step) event.preventDefault();
      if (next) next.focus();
    });
  });

  all(".controls").concat(detail).forEach((part) => { part.hidden = false; });
  all(".layer-filter").forEach((select) => { select.value = ""; });
  picker.value = "0";
})();
