"""What the document tells of time: rates, rasters, and events step by step."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from pipeline.mapping.place import cautions
from pipeline.report import build_document, render_html, write_report


def test_activity_is_that_of_the_verified_samples(bench: Callable[..., Any]) -> None:
    context = bench()
    activity = build_document(context)["activity"]
    trace, network = context.value("lava").trace, context.value("quantize").network
    for row, layer in zip(activity["layers"], network.layers, strict=True):
        spikes = trace.spikes[layer.name]
        assert row["rate_per_step"] == pytest.approx(spikes.mean())
        over_time = spikes.mean(axis=tuple(range(spikes.ndim - 1)))
        assert row["rate_over_time_per_step"] == pytest.approx(over_time, rel=1e-4, abs=1e-9)
    for layer in activity["raster"]["layers"]:
        first = trace.spikes[layer["layer"]][0]
        first = first.reshape(-1, first.shape[-1])
        assert layer["n_spiking"] == first.any(axis=1).sum()
        for neuron, steps in zip(layer["neurons"], layer["spike_steps"], strict=True):
            assert np.flatnonzero(first[neuron]).tolist() == steps


def test_raster_of_a_busy_network_stays_small_and_says_what_it_left_out() -> None:
    from pipeline.report.document_activity import _raster  # its size is a promise of the page
    from pipeline.report.plots import _runs

    rng = np.random.default_rng(0)
    spikes = {f"layer{i}": (rng.random((1, 40, 16, 16, 600)) < 0.5).astype(np.uint8)
              for i in range(3)}
    raster = _raster(spikes)
    assert (raster["n_steps"], raster["n_steps_shown"]) == (600, 480)
    paths = [_runs(y, steps) for layer in raster["layers"]
             for y, steps in enumerate(layer["spike_steps"])]
    assert 20_000 < sum(map(len, paths)) < 200_000
    for layer in raster["layers"]:
        assert layer["n_spiking"] == 10_240
        assert len(layer["neurons"]) == -(-10_240 // layer["every"]) < 128


def test_events_of_the_steps_sum_up_to_those_of_the_layers(bench: Callable[..., Any]) -> None:
    document = build_document(bench(neurons_per_core=7))
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert [row["layer"] for row in document["over_time"]["layers"]] == list(layers)
    for row in document["over_time"]["layers"]:
        events = {name for name in row if name != "layer"}
        assert {"spikes_per_sample", "messages_out_per_sample", "messages_in_per_sample",
                "effective_synops_per_sample", "executed_synops_per_sample"} == events
        for event in events:
            assert len(row[event]) == document["over_time"]["n_steps"] == document["model"][
                "n_steps"]
            assert sum(row[event]) == pytest.approx(layers[row["layer"]][event], rel=1e-5)


def test_steps_are_drawn_for_each_layer_and_stand_in_a_table_of_their_own(
    bench: Callable[..., Any]
) -> None:
    context = bench()
    document = build_document(context)
    rows = document["over_time"]["layers"]
    page = render_html(document)
    for row in rows:
        assert page.count(f'aria-label="Synops of {row["layer"]} over time: ') == 1
    write_report(context)
    with (context.out / "steps.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["layer"], int(row["step"])) for row in table] == [
        (row["layer"], step) for row in rows for step in range(document["over_time"]["n_steps"])]
    for event in ("spikes_per_sample", "messages_in_per_sample", "executed_synops_per_sample"):
        assert [float(row[event]) for row in table] == [v for row in rows for v in row[event]]


def test_states_that_could_leave_their_width_are_cautions_with_their_remedy(
    bench: Callable[..., Any], page_text: Any
) -> None:
    context = bench()
    document = build_document(context)
    found = cautions(context.value("quantize").network, context.target)
    assert [row["layer"] for row in document["cautions"]] == [c.layer for c in found] != []
    text = page_text(render_html(document))
    for caution in found:
        assert f"{caution.value}; limit {caution.limit}" in text
        assert text.count(str(escape(caution.remedy))) == 1
    wide = context.target.neurons.state_bits.model_copy(update={"value": 32})
    context.target = context.target.model_copy(update={
        "neurons": context.target.neurons.model_copy(update={"state_bits": wide})})
    document = build_document(context)
    assert document["cautions"] == []
    assert "Cautions" not in page_text(render_html(document))
