"""The document says what the artifacts say: its sums agree and nothing in it is invented."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.emulate import Trace, emulate
from pipeline.mapping.place import Placement
from pipeline.network import INPUT, Layer, Network
from pipeline.report import build_document, render_html


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
            own = nonzero[:, core.neurons]
            positions = own.sum(axis=1)
            if core.synapses[0].format == "conv":
                positions = stored[:, core.neurons].sum(axis=1)
            elif core.synapses[0].format == "dense":  # from the first to the last, or all
                assert core.n_neurons <= 60
                ends = own[:, ::-1].argmax(axis=1)
                positions = core.n_neurons - ends - own.argmax(axis=1)
                if placement.target == "loihi2":
                    positions = np.full(len(own), core.n_neurons)
            executed += int(spikes_in @ (positions * own.any(axis=1)))
        counts[layer.name] = {
            "effective_synops_per_sample": int(spikes_in @ nonzero.sum(axis=1)) / n_samples,
            "executed_synops_per_sample": executed / n_samples,
            "spikes_per_sample": int(trace.spikes[layer.name].sum()) / n_samples,
        }
    return counts


@pytest.mark.parametrize("neurons_per_core", [None, 20, 7])
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_core_sums_are_layer_sums_are_the_counts_of_the_spike_trains(
    bench: Callable[..., Any], target: str, neurons_per_core: int | None
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
    bench: Callable[..., Any], page_text: Any
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
        assert row["weight_shapes"] == [list(new.shape)]
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


def test_before_and_after_are_counted_on_the_same_samples(bench: Callable[..., Any]) -> None:
    context = bench()
    document = build_document(context)
    dense, network = context.value("ingest").network, context.value("quantize").network
    rows = {row["quantity"]: row for row in document["before_after"]["rows"]}
    assert document["before_after"]["dense_obstacle"] is None
    samples = context.value("lava").trace.spikes[INPUT]
    assert document["before_after"]["n_samples"] == len(samples)
    for which, net in (("dense", dense), ("compressed", network)):
        assert rows["neurons"][which] == sum(layer.n_neurons for layer in net.layers)
        assert rows["nonzero_weights"][which] == sum(
            np.count_nonzero(s.weight) for s in net.synapses)
        spikes = emulate(net, samples).spikes
        n = sum(np.count_nonzero(spikes[layer.name]) for layer in net.layers)
        assert rows["spikes_per_sample"][which] == n / len(samples)
    assert rows["cores"]["compressed"] == len(document["cores"])
    assert rows["test_accuracy"]["dense"] == document["verdict"]["accuracy_dense_frac"]


def test_dense_network_that_does_not_fit_leaves_gaps_and_the_reason(
    bench: Callable[..., Any], page_text: Any
) -> None:
    context = bench()
    capacities = context.target.capacities
    largest = max(core.synapse_bits for core in context.value("place").cores)
    limit = capacities.synapse_memory_bits_per_core.model_copy(update={"value": 64})
    assert largest > 64
    context.target = context.target.model_copy(update={
        "capacities": capacities.model_copy(update={"synapse_memory_bits_per_core": limit})})
    document = build_document(context)
    reason = document["before_after"]["dense_obstacle"]
    assert reason
    rows = {row["quantity"]: row for row in document["before_after"]["rows"]}
    assert rows["cores"]["dense"] is None and rows["cores"]["compressed"] > 0
    text = page_text(render_html(document))
    assert "The network as trained does not go on this target" in text


def test_document_is_strict_json_of_plain_values(bench: Callable[..., Any]) -> None:
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


@pytest.mark.parametrize(("frac", "n", "low", "high"), [
    # computed by hand from Wilson 1927, eq. for z = 1.959964
    (0.5, 10, 0.2366, 0.7634), (1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775),
])
def test_accuracy_carries_its_wilson_interval(
    bench: Callable[..., Any], frac: float, n: int, low: float, high: float
) -> None:
    context = bench()
    context.values["emulate"] = replace(
        context.value("emulate"), validation=(frac, frac), test=(frac, frac), n_validation=n,
        n_test=n)
    test = build_document(context)["accuracy"]["test"]
    assert test["dense_ci95_low_frac"] == pytest.approx(low, abs=1e-4)
    assert test["compressed_ci95_high_frac"] == pytest.approx(high, abs=1e-4)


def test_input_is_the_source_of_the_first_layer(bench: Callable[..., Any]) -> None:
    assert build_document(bench())["layers"][0]["source"] == INPUT
