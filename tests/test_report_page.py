"""The page shows what the document says, stands alone, and can be read by all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.account.energy import account
from pipeline.compare import compare_traces
from pipeline.deployment import Ingested, Integers, Verification
from pipeline.emulate import Trace, emulate
from pipeline.mapping.place import place
from pipeline.network import Network, Synapse
from pipeline.report import build_document, render_html, units

JOULES = re.compile(r"\d[\d.,]*\s*[pnµm]?J\b")


def test_page_shows_the_headlines_of_the_document(
    bench: Callable[..., Any], page_text: Any
) -> None:
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
        f"n = 6 samples: {context.value('emulate').origin}",
        f"{verdict['n_cores']} of 128 cores", "Bit-exact", "0 differences",
        f"{verdict['n_spikes_compared']:,} spikes",
        units.human_band(low, high).replace("\N{NO-BREAK SPACE}", " "), "Energy per sample (proxy)",
        *document["energy"]["assumptions"][:1], *(entry["what"].split(" ->")[0]
                                                  for entry in document["ledger"]),
        *(row["sha256"] for row in document["artifacts"]["files"]),
        *document["artifacts"]["stage_keys"].values(),
    ):
        assert shown in text, shown


def test_incomplete_energy_names_the_terms_it_lacks(
    bench: Callable[..., Any], page_text: Any
) -> None:
    document = build_document(bench())
    assert document["energy"]["status"] == "incomplete"
    text = page_text(render_html(document))
    assert "Incomplete; davies2018 lacks " in text
    for terms in document["verdict"]["energy_unpriced_terms"].values():
        assert terms
        assert all(f"Not priced: {term.replace('_', ' ')}." in text for term in terms)


def test_target_without_prices_shows_no_energy_at_all(
    bench: Callable[..., Any], page_text: Any
) -> None:
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


def test_difference_between_backends_is_the_verdict(
    bench: Callable[..., Any], page_text: Any
) -> None:
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


def renamed(context: Any, old: str, new: str) -> Any:
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
    losses = values["emulate"].executed_losses
    losses = {new if k == old else k: v for k, v in losses.items()}
    values["emulate"] = replace(values["emulate"], executed_losses=losses)
    trace = emulate(integers, values["spikes"])
    values["place"] = place(integers, context.target)
    values["energy"] = account(integers, values["place"], trace, context.target)
    comparison = compare_traces(integers, trace, "emulator", trace, "Lava")
    values["compare"] = Verification((comparison,))
    return replace(context, values=values)


def test_names_are_escaped(bench: Callable[..., Any]) -> None:
    context = renamed(bench(), "fc", "<b>")
    html = render_html(build_document(context))
    assert "&lt;b&gt;" in html
    assert "\\u003cb\\u003e" in html  # in the data for the script
    # the page's own bold labels hold no other
    assert not re.search(r"<b>\s*<", html)
    assert html.count("<b>") == html.count("</b>")


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_page_loads_nothing(bench: Callable[..., Any], target: str) -> None:
    html = render_html(build_document(bench(target)))
    for load in ("http:", "https:", "src=", "<link", "<img", "@import", "url(", "//cdn"):
        assert load not in html, load
    assert "default-src 'none'" in html
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', html))
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(re.findall(r'id="([^"]*)"', html))


def test_page_is_well_formed_and_its_headers_are_buttons(bench: Callable[..., Any]) -> None:
    html = render_html(build_document(bench()))
    html = re.sub(r"<script.*?</script>", lambda m: m.group() if "json" in m.group() else
                  "<script></script>", html, flags=re.S)
    for tag in ("table", "section", "figure", "svg", "div", "ul", "tr", "th", "td", "h2", "h3"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag
    identifiers = re.findall(r'id="([^"]*)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert len(re.findall(r'<th scope="col"', html)) == html.count("<button")
    assert html.count("<script") == html.count("</script>") == 2
    (data,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, flags=re.S)
    assert {"ramp", "layers", "counters"} == json.loads(data).keys()


def test_every_number_of_the_target_is_shown_with_unit_status_and_source(
    bench: Callable[..., Any], page_text: Any
) -> None:
    def quantities(section: Any) -> list[dict[str, Any]]:
        if not isinstance(section, dict):
            return []
        if {"value", "unit", "status", "source"} <= section.keys():
            return [section]
        return [q for part in section.values() for q in quantities(part)]

    document = build_document(bench())
    text = page_text(render_html(document).replace("&#34;", '"').replace("&#39;", "'")
                     .replace("&amp;", "&").replace("&lt;", "‹").replace("&gt;", "›"))
    found = quantities(document["target"])
    assert len(found) > 60
    for quantity in found:
        source = quantity["source"].replace("<", "‹").replace(">", "›")
        shown = f"{quantity['unit']} {quantity['status']} {' '.join(source.split())}"
        assert shown in text, shown


def test_prices_of_another_chip_are_called_a_guess(bench: Callable[..., Any]) -> None:
    html = render_html(build_document(bench("loihi2-priced-as-loihi1")))
    assert "at another chip’s prices" in html
    assert "A guess at another chip’s prices." in html
    assert "published prices:" not in html


def test_text_has_contrast_in_light_and_dark(bench: Callable[..., Any]) -> None:
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
