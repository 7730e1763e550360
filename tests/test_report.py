"""The report says what the artifacts say: sums agree, nothing is invented, files are whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from hardware_targets import Target, load_target
from pipeline.calibrate import calibrate
from pipeline.compare import compare_traces
from pipeline.compressor import compress_network
from pipeline.deployment import Evaluation, Exported, Ingested, Integers, Verification
from pipeline.emulate import Trace, accuracy, emulate
from pipeline.energy import account
from pipeline.errors import OutputError
from pipeline.lava_backend import LavaRun
from pipeline.match_rates import match_rates
from pipeline.model_folder import ModelDescription, ModelFolder
from pipeline.network import INPUT, CubaNeuron, Layer, Network, Synapse
from pipeline.place import Placement, place
from pipeline.quantize import as_trained, to_integers
from pipeline.recipe import Recipe, load_recipe
from pipeline.report import build_document, render_html, units, write_report
from pipeline.shrink import removals, shrink

RECIPE = Recipe.model_validate({
    "calibration": {"n_samples": 6}, "compress": {"sparsity": 0.5, "layers": {"fc": {"bits": 5}}},
    "energy": {"n_samples": 5}, "verify": {"n_samples": 4},
})
ORIGIN = "spikes drawn for this test, test split"
FILES = ("report.json", "report.html", "recipe.yaml", "thresholds.yaml")
JOULES = re.compile(r"\d[\d.,]*\s*[pnµm]?J\b")


@dataclass
class Bench:
    """A context whose artifacts are made by the stages' own functions."""

    model: ModelFolder
    recipe: Recipe
    target: Target
    out: Path
    values: dict[str, Any] = field(default_factory=dict)

    def value(self, stage: str) -> Any:
        return self.values[stage]

    def progress(self, message: str) -> None:
        raise AssertionError("the report has nothing to show")

    def key(self, stage: str) -> str:
        return f"key-of-{stage}"


@pytest.fixture(scope="module")
def compressed(
    conv_chain: Callable[..., Network], random_spikes: Callable[..., NDArray[np.uint8]]
) -> dict[str, Any]:
    """Artifacts of the stages that do not know the target."""
    network = unheard(conv_chain(neuron=CubaNeuron(1024, 128, 40), n_steps=12))
    spikes = random_spikes(network, n_samples=6, rate=0.3)
    labels = np.arange(6) % 5
    dense, rounded = as_trained(network)
    calibration = calibrate(dense, spikes, ORIGIN)
    parts = compress_network(dense, calibration, RECIPE, spikes)
    integers, ledger = to_integers(dense, parts)
    full, matched = match_rates(integers, spikes, calibration.rates)
    shrunk = shrink(full)
    integers = shrunk.network
    assert [len(channels) for channels in shrunk.kept.values()] == [3, 5]
    trace = emulate(integers, spikes[:4])
    accuracies = (accuracy(dense, spikes, labels), accuracy(integers, spikes, labels))
    bits = {s.name: s.weight_bits for s in integers.synapses}
    return {
        "ingest": Ingested(dense, rounded), "calibrate": calibration, "compress": parts,
        "quantize": Integers(
            integers, full, shrunk.kept, ledger + matched + removals(full, shrunk)),
        "export": Exported(1, {}),
        "emulate": Evaluation(accuracies, accuracies, 6, 6, ORIGIN),
        "lava": LavaRun(trace, bits | {"conv": None}, 1.0),
        "compare": Verification((
            compare_traces(integers, trace, "emulator", trace, "Lava"),
            compare_traces(integers, trace, "emulator", trace, "SLAYER"),
        )),
        "spikes": spikes[:5],
    }


def unheard(network: Network) -> Network:
    """Return the network with zeros for all that ``fc`` hears from channel 2 of ``conv``."""
    conv, fc = network.layers
    (synapse,) = fc.synapses
    weight = synapse.weight.reshape(5, conv.shape[0], -1).copy()
    weight[:, 2] = 0
    weight = weight.reshape(synapse.weight.shape)
    return network.with_layers((conv, replace(fc, synapses=(replace(synapse, weight=weight),))))


@pytest.fixture
def bench(compressed: dict[str, Any], tmp_path: Path) -> Callable[..., Bench]:
    """Builder of a context on a target, optionally on small cores."""

    def build(target_name: str = "loihi1", neurons_per_core: int | None = None) -> Bench:
        target = load_target(target_name)
        if neurons_per_core is not None:
            capacities = target.capacities
            limit = capacities.neurons_per_core.model_copy(update={"value": neurons_per_core})
            target = target.model_copy(update={
                "capacities": capacities.model_copy(update={"neurons_per_core": limit})})
        network = compressed["quantize"].network
        placement = place(network, target)
        energy = account(network, placement, emulate(network, compressed["spikes"]), target)
        description = ModelDescription(
            description="a small network", input_shape=network.input_shape, n_steps=network.n_steps)
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        (out / "network.net").write_bytes(b"net")
        (out / "checkpoint.pt").write_bytes(b"checkpoint")
        return Bench(
            ModelFolder("small", tmp_path / "small", description), RECIPE, target, out,
            {**compressed, "place": placement, "energy": energy},
        )

    return build


def renamed(context: Bench, old: str, new: str) -> Bench:
    """Return the context with a layer of another name in every artifact the report reads."""

    def of_network(network: Network) -> Network:
        def of_synapse(synapse: Synapse) -> Synapse:
            return replace(synapse, name=new if synapse.name == old else synapse.name,
                           source=new if synapse.source == old else synapse.source)

        return network.with_layers(tuple(
            replace(layer, name=new if layer.name == old else layer.name,
                    synapses=tuple(of_synapse(s) for s in layer.synapses))
            for layer in network.layers
        ))

    values = dict(context.values)
    integers = of_network(values["quantize"].network)
    values["ingest"] = Ingested(of_network(values["ingest"].network), ())
    quantized = values["quantize"]
    kept = {new if k == old else k: v for k, v in quantized.kept.items()}
    values["quantize"] = Integers(integers, of_network(quantized.full), kept, ())
    values["compress"] = {new if k == old else k: v for k, v in values["compress"].items()}
    rates = {new if k == old else k: v for k, v in values["calibrate"].rates.items()}
    values["calibrate"] = replace(values["calibrate"], rates=rates)
    trace = emulate(integers, values["spikes"])
    values["place"] = place(integers, context.target)
    values["energy"] = account(integers, values["place"], trace, context.target)
    comparison = compare_traces(integers, trace, "emulator", trace, "Lava")
    values["compare"] = Verification((comparison,))
    return replace(context, values=values)


def fan_outs(network: Network, layer: Layer) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which (source, target) pairs are stored and which nonzero, one by one."""
    (synapse,) = layer.synapses
    in_shape = network.shape_of(synapse.source)
    stored = np.zeros((int(np.prod(in_shape)), layer.n_neurons), dtype=bool)
    nonzero = np.zeros_like(stored)
    if synapse.geometry is None:
        return ~stored, synapse.weight.T != 0
    (stride_y, stride_x), (pad_y, pad_x) = synapse.geometry.stride, synapse.geometry.padding
    for channel, y, x in np.ndindex(*layer.shape):
        for c_in, ky, kx in np.ndindex(*synapse.weight.shape[1:]):
            at = (y * stride_y - pad_y + ky, x * stride_x - pad_x + kx)
            if 0 <= at[0] < in_shape[1] and 0 <= at[1] < in_shape[2]:
                source = (c_in * in_shape[1] + at[0]) * in_shape[2] + at[1]
                target = (channel * layer.shape[1] + y) * layer.shape[2] + x
                stored[source, target] = True
                nonzero[source, target] = synapse.weight[channel, c_in, ky, kx] != 0
    return stored, nonzero


def counted(
    network: Network, placement: Placement, trace: Trace, n_samples: int
) -> dict[str, dict[str, float]]:
    """Return events per sample and layer, counted from the spike trains alone."""
    counts = {}
    for layer in network.layers:
        stored, nonzero = fan_outs(network, layer)
        source = trace.spikes[layer.synapses[0].source].reshape(n_samples, len(stored), -1)
        spikes_in = source.sum(axis=(0, 2), dtype=np.int64)
        executed = 0
        for core in placement.cores_of(layer.name):
            own = slice(core.begin, core.end)
            is_stored_axon = nonzero[:, own].any(axis=1)
            keeps_zeros = core.synapses[0].format != "sparse"
            positions = (stored if keeps_zeros else nonzero)[:, own].sum(axis=1)
            executed += int(spikes_in @ (positions * is_stored_axon))
        counts[layer.name] = {
            "effective_synops_per_sample": int(spikes_in @ nonzero.sum(axis=1)) / n_samples,
            "executed_synops_per_sample": executed / n_samples,
            "spikes_per_sample": int(trace.spikes[layer.name].sum()) / n_samples,
        }
    return counts


def page_text(html: str) -> str:
    """Return what a reader sees: no tags, no style, no script."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body).replace("\N{NO-BREAK SPACE}", " "))


# ---------------------------------------------------------------- the document


@pytest.mark.parametrize("neurons_per_core", [None, 20, 7])
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_core_sums_are_layer_sums_are_the_counts_of_the_spike_trains(
    bench: Callable[..., Bench], target: str, neurons_per_core: int | None
) -> None:
    context = bench(target, neurons_per_core)
    network = context.value("quantize").network
    document = build_document(context)
    trace = emulate(network, context.value("spikes"))
    expected = counted(network, context.value("place"), trace, 5)
    totals = document["energy"]["totals"]
    assert totals["spikes_per_sample"] > 0
    for layer in document["layers"]:
        own = [core for core in document["cores"] if core["layer"] == layer["name"]]
        assert layer["n_cores"] == len(own)
        for event in totals:
            assert layer[event] == pytest.approx(sum(core[event] for core in own), rel=1e-12)
        for event, count in expected[layer["name"]].items():
            assert count > 0
            assert layer[event] == pytest.approx(count, rel=1e-12)
        updates = sum(layer[f"neuron_updates_{kind}_per_sample"] for kind in ("active", "idle"))
        assert updates == pytest.approx(layer["n_neurons"] * network.n_steps)
    for event, total in totals.items():
        assert total == pytest.approx(sum(layer[event] for layer in document["layers"]))


def test_sizes_and_shares_are_those_of_the_network_as_trained_and_as_deployed(
    bench: Callable[..., Bench]
) -> None:
    context = bench()
    document = build_document(context)
    dense, network = context.value("ingest").network, context.value("quantize").network
    assert network.layers[0].n_neurons == 3 / 4 * dense.layers[0].n_neurons
    for row, before, after in zip(
        document["layers"], dense.layers, network.layers, strict=True
    ):
        old, new = before.synapses[0].weight, after.synapses[0].weight
        assert (row["n_neurons_dense"], row["n_neurons"]) == (before.n_neurons, after.n_neurons)
        assert row["weight_shape_dense"] == list(old.shape)
        assert row["weight_shape"] == list(new.shape)
        assert (row["n_weights_dense"], row["n_weights"]) == (old.size, new.size)
        assert row["n_weights_nonzero"] == np.count_nonzero(new)
        assert row["connection_sparsity_frac"] == 1 - np.count_nonzero(new) / old.size
        assert row["connection_sparsity_frac"] > after.synapses[0].sparsity
    verdict, model = document["verdict"], document["model"]
    assert model["n_weights_dense"] == sum(s.weight.size for s in dense.synapses)
    assert verdict["connection_sparsity_dense_frac"] == pytest.approx(dense.sparsity)
    n_nonzero = sum(int(np.count_nonzero(s.weight)) for s in network.synapses)
    assert verdict["connection_sparsity_frac"] == 1 - n_nonzero / model["n_weights_dense"]
    n, n_dense = verdict["n_neurons"], verdict["n_neurons_dense"]
    assert n < n_dense
    assert f"{n} of {n_dense} neurons are left" in page_text(render_html(document))
    removed = [row for row in document["ledger"] if row["what"].startswith("neurons removed")]
    assert [(r["layer"], r["count"]) for r in removed] == [("conv", n_dense - n)]


def test_energy_is_amount_times_price_in_every_sum(bench: Callable[..., Bench]) -> None:
    context = bench(neurons_per_core=7)
    document = build_document(context)
    for prices in context.value("energy").price_sets:
        rows = {row["event"]: row | row["price_sets"][prices.name]
                for row in document["energy"]["events"]}
        assert {e for e, row in rows.items() if row["amount_per_sample"]} == (
            set(prices.by_event_pj) | set(prices.unpriced))
        for event, energy in prices.by_event_pj.items():
            amount, price = rows[event]["amount_per_sample"], rows[event]["price_pj"]
            assert rows[event]["energy_pj_per_sample"] == pytest.approx(amount * price)
            assert energy == pytest.approx(amount * price)
        of_cores = [core["energy_pj_per_sample"][prices.name] for core in document["cores"]]
        assert sum(of_cores) == pytest.approx(prices.total_pj)
    energies = [s["total_pj_per_sample"] for s in document["energy"]["price_sets"]]
    verdict = document["verdict"]
    assert verdict["energy_low_pj_per_sample"] == min(energies)
    assert verdict["energy_high_pj_per_sample"] == max(energies)


def test_document_is_strict_json_of_plain_values(bench: Callable[..., Bench]) -> None:
    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            assert all(type(key) is str for key in value), path
            for key, item in value.items():
                walk(item, f"{path}.{key}")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, f"{path}[{index}]")
        else:
            assert value is None or type(value) in (str, int, float, bool), (path, type(value))

    document = build_document(bench())
    walk(document, "document")
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document


def test_neurobench_metrics_follow_their_definitions(bench: Callable[..., Bench]) -> None:
    context = bench()
    metrics = build_document(context)["neurobench"]
    network = context.value("quantize").network
    trace = emulate(network, context.value("spikes"))
    outputs = np.concatenate([trace.spikes[layer.name].ravel() for layer in network.layers])
    assert metrics["activation_sparsity_frac"] == pytest.approx(1 - outputs.mean())
    assert metrics["connection_sparsity_frac"] == pytest.approx(
        context.value("quantize").sparsity)
    bits = sum(core.synapse_bits for core in context.value("place").cores)
    assert metrics["footprint_bytes"] * 8 == bits


@pytest.mark.parametrize(("frac", "n", "low", "high"), [
    # computed by hand from Wilson 1927, eq. for z = 1.959964
    (0.5, 10, 0.2366, 0.7634), (1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775),
])
def test_accuracy_carries_its_wilson_interval(
    bench: Callable[..., Bench], frac: float, n: int, low: float, high: float
) -> None:
    context = bench()
    context.values["emulate"] = Evaluation((frac, frac), (frac, frac), n, n, ORIGIN)
    test = build_document(context)["accuracy"]["test"]
    assert test["dense_ci95_low_frac"] == pytest.approx(low, abs=1e-4)
    assert test["compressed_ci95_high_frac"] == pytest.approx(high, abs=1e-4)


# ---------------------------------------------------------------- the files


def test_two_runs_write_identical_bytes_and_no_path_of_this_machine(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    context = bench()
    assert write_report(context).files == FILES
    first = {name: (context.out / name).read_bytes() for name in FILES}
    write_report(context)
    assert first == {name: (context.out / name).read_bytes() for name in FILES}
    assert {path.name for path in context.out.iterdir()} == {
        *FILES, "network.net", "checkpoint.pt"}
    for content in first.values():
        assert str(tmp_path) not in content.decode()
    assert json.loads(first["report.json"]) == build_document(context)


def test_recipe_file_is_the_recipe(bench: Callable[..., Bench]) -> None:
    context = bench()
    write_report(context)
    assert load_recipe(context.out / "recipe.yaml") == RECIPE
    assert (context.out / "recipe.yaml").read_text().startswith("#")


def test_thresholds_file_holds_the_deployed_thresholds(bench: Callable[..., Bench]) -> None:
    context = bench()
    write_report(context)
    thresholds = yaml.safe_load((context.out / "thresholds.yaml").read_text())
    dense = {layer.name: layer.neuron for layer in context.value("ingest").network.layers}
    for layer in context.value("quantize").network.layers:
        entry = thresholds[layer.name]
        assert entry["vth_mant"] == layer.neuron.vth_mant
        assert entry["vth_mant_dense"] == dense[layer.name].vth_mant
        assert entry["threshold_scale"] == layer.neuron.vth_mant / dense[layer.name].vth_mant


def test_file_that_cannot_be_written_is_named_and_leaves_no_fragment(
    bench: Callable[..., Bench]
) -> None:
    context = bench()
    (context.out / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html: cannot be written"):
        write_report(context)
    assert not list(context.out.glob("*.tmp"))
    json.loads((context.out / "report.json").read_text())


def test_earlier_report_survives_a_failed_write(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bench()
    (context.out / "report.json").write_text("earlier")

    def fail(source: Path, target: Path) -> None:
        assert Path(source).stat().st_size > 1000  # written whole before it replaces anything
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match=r"report\.json: cannot be written \(No space left"):
        write_report(context)
    assert (context.out / "report.json").read_text() == "earlier"
    assert not list(context.out.glob("*.tmp"))


def test_unusable_folder_is_an_output_error(bench: Callable[..., Bench], tmp_path: Path) -> None:
    context = bench()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"network\.net: cannot be read"):
        write_report(replace(context, out=tmp_path / "file"))


# ---------------------------------------------------------------- the page


def test_page_shows_the_headlines_of_the_document(bench: Callable[..., Bench]) -> None:
    context = bench()
    document = build_document(context)
    text, verdict = page_text(render_html(document)), document["verdict"]
    # two comparisons of the same spikes count them once
    network = context.value("quantize").network
    n_neurons = sum(layer.n_neurons for layer in network.layers)
    compared = context.value("compare").comparisons[0].layers
    assert verdict["n_spikes_compared"] == sum(layer.n_spikes for layer in compared)
    assert verdict["n_positions_compared"] == 4 * n_neurons * network.n_steps
    low, high = verdict["energy_low_pj_per_sample"], verdict["energy_high_pj_per_sample"]
    for shown in (
        f"{100 * verdict['accuracy_dense_frac']:.1f} % → "
        f"{100 * verdict['accuracy_compressed_frac']:.1f} %",
        f"n = 6 samples: {ORIGIN}", f"{verdict['n_cores']} of 128 cores", "Bit-exact",
        "0 differences", f"{verdict['n_spikes_compared']:,} spikes",
        units.human_band(low, high).replace("\N{NO-BREAK SPACE}", " "), "Energy per sample (proxy)",
        *document["energy"]["assumptions"][:1], *(entry["what"].split(" ->")[0]
                                                  for entry in document["ledger"]),
        *(row["sha256"] for row in document["artifacts"]["files"]),
        *document["artifacts"]["stage_keys"].values(),
    ):
        assert shown in text, shown


def test_incomplete_energy_names_the_terms_it_lacks(bench: Callable[..., Bench]) -> None:
    document = build_document(bench())
    assert document["energy"]["status"] == "incomplete"
    text = page_text(render_html(document))
    assert "Incomplete; davies2018 lacks " in text
    for terms in document["verdict"]["energy_unpriced_terms"].values():
        assert terms
        assert all(f"Not priced: {term.replace('_', ' ')}." in text for term in terms)


def test_target_without_prices_shows_no_energy_at_all(bench: Callable[..., Bench]) -> None:
    document = build_document(bench("loihi2"))
    assert document["energy"]["status"] == "unpriced"
    assert document["energy"]["price_sets"][0]["total_pj_per_sample"] is None
    assert all(core["energy_pj_per_sample"] == {"none-published": None}
               for core in document["cores"])
    for row in document["energy"]["events"]:
        assert row["price_sets"]["none-published"] == {
            "price_pj": None, "energy_pj_per_sample": None}
    text = page_text(render_html(document))
    assert "unpriced No published loihi2 energies" in text
    assert not JOULES.search(text)
    assert JOULES.search(page_text(render_html(build_document(bench("loihi1")))))


def test_difference_between_backends_is_the_verdict(bench: Callable[..., Bench]) -> None:
    context = bench()
    network = context.value("quantize").network
    trace = emulate(network, context.value("spikes"))
    other = {name: spikes.copy() for name, spikes in trace.spikes.items()}
    other["fc"][1, 2, 7] ^= 1
    context.values["compare"] = Verification((
        compare_traces(network, trace, "emulator", Trace(other, {}), "Lava"),))
    document = build_document(context)
    assert not document["verdict"]["is_bit_exact"]
    assert document["equivalence"][1]["first_difference"] == {"sample": 1, "step": 7, "neuron": 2}
    text = page_text(render_html(document))
    assert "Not bit-exact 1 difference " in text
    assert "sample 1, step 7, neuron 2" in text


def test_names_are_escaped(bench: Callable[..., Bench]) -> None:
    context = renamed(bench(), "fc", "<b>")
    html = render_html(build_document(context))
    assert "&lt;b&gt;" in html
    # the page's own bold labels are one per layer and figure; none holds another
    assert not re.search(r"<b>\s*<", html)
    assert html.count("<b>") == html.count("</b>") == 4


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_page_loads_nothing(bench: Callable[..., Bench], target: str) -> None:
    html = render_html(build_document(bench(target)))
    for load in ("http:", "https:", "src=", "<link", "<img", "@import", "url(", "//cdn"):
        assert load not in html, load
    assert "default-src 'none'" in html
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', html))
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(re.findall(r'id="([^"]*)"', html))


def test_page_is_well_formed_and_its_headers_are_buttons(bench: Callable[..., Bench]) -> None:
    html = render_html(build_document(bench()))
    for tag in ("table", "section", "figure", "svg", "div", "ul", "tr", "th", "td", "h2", "h3"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag
    identifiers = re.findall(r'id="([^"]*)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert len(re.findall(r'<th scope="col"', html)) == html.count("<button")
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    assert len(script.splitlines()) <= 40


def test_text_has_contrast_in_light_and_dark(bench: Callable[..., Bench]) -> None:
    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    html = render_html(build_document(bench()))
    schemes = re.findall(r":root \{(.*?--paper.*?)\}", html, flags=re.S)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for text in ("ink", "quiet", "link"):
            for ground in ("paper", "soft"):
                bright, dark = sorted(
                    (luminance(colors[text]), luminance(colors[ground])), reverse=True)
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground, colors)


# ---------------------------------------------------------------- numbers for people


@pytest.mark.parametrize(("pj", "shown"), [
    (0.5, "0.5 pJ"), (23.6, "23.6 pJ"), (999.7, "1,000 pJ"), (1234.0, "1.23 nJ"),
    (7_944_110.4, "7.94 µJ"), (10_041_103.3, "10.0 µJ"), (2.5e9, "2.50 mJ"), (3e12, "3.00 J"),
])
def test_energy_is_shown_in_the_unit_that_suits_it(pj: float, shown: str) -> None:
    assert units.human_energy(pj) == shown.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("low", "high", "shown"), [
    (7.9e6, 10.04e6, "7.90–10.0 µJ"), (900.0, 1200.0, "900 pJ–1.20 nJ"), (5e3, 5e3, "5.00 nJ"),
])
def test_band_shows_its_unit_once_if_both_ends_share_it(
    low: float, high: float, shown: str
) -> None:
    assert units.human_band(low, high) == shown.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("value", "shown"), [
    (None, "–"), (1234567, "1,234,567"), (1234.5, "1,234.5"), (3.0, "3"), (0.125, "0.12"),
    ("text", "text"),
])
def test_exact_numbers_have_at_most_two_decimals(value: Any, shown: str) -> None:
    assert units.exact(value) == shown


def test_input_is_the_source_of_the_first_layer(bench: Callable[..., Bench]) -> None:
    assert build_document(bench())["layers"][0]["source"] == INPUT
