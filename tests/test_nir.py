"""What is written to NIR is what is read, and the nodes alone make the same spikes.

The second is asked of our files without their metadata: what another framework would see of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nir_networks import random_input, random_network, same, without_metadata

from pipeline.emulate import emulate
from pipeline.export_nir import DT, to_graph, write_nir
from pipeline.ingest.nir_graph import read_nir
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_what_is_written_is_what_is_read(seed: int, tmp_path_factory: Any) -> None:
    network, path = random_network(seed), tmp_path_factory.mktemp("nir") / "network.nir"
    write_nir(network, path, "a test")
    read, ledger = read_nir(path)
    assert same(read, network)
    assert ledger == ()
    assert [file.name for file in path.parent.iterdir()] == ["network.nir"]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_the_nodes_alone_make_the_same_spikes(seed: int, tmp_path_factory: Any) -> None:
    network, path = random_network(seed), tmp_path_factory.mktemp("nir") / "network.nir"
    write_nir(network, path, "")
    read, ledger = read_nir(without_metadata(path), network.n_steps)
    assert [entry.what for entry in ledger if "float" not in entry.what] == [
        "a step taken as 0.0001 s, which NIR does not say"]
    if not network.is_integer:
        if network.is_chain:
            pairs = zip(network.synapses, read.synapses, strict=True)
            assert all(np.allclose(one.weight, other.weight, atol=0) for one, other in pairs)
        return
    spikes = random_input(network, seed)
    one, other = emulate(network, spikes), emulate(read, spikes)
    for layer, copy in zip(network.layers, read.layers, strict=True):
        assert np.array_equal(one.spikes[layer.name], other.spikes[copy.name]), layer.name


def test_random_networks_have_everything_and_spike() -> None:
    networks = [random_network(seed) for seed in range(40)]
    layers = [layer for network in networks for layer in network.layers]
    assert {network.is_chain for network in networks} == {True, False}
    assert {network.is_integer for network in networks} == {True, False}
    for values in (
        [layer.recurrent for layer in layers], [layer.axonal_delay for layer in layers],
        [layer.neuron.bias for layer in layers], [part.neuron.channel_vth_mant for part in layers],
        [layer.synapses[0].allowed for layer in layers],
    ):
        assert {value is None for value in values} == {True, False}
    n_spikes = [int(emulate(network, random_input(network)).spikes["fc"].sum())
                for network in networks if network.is_integer]
    assert np.mean(np.array(n_spikes) > 0) > 0.7


def test_a_neuron_that_never_fires_stays_silent(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain(neuron=CubaNeuron(1024, 0, NEVER_VTH_MANT))
    write_nir(network, tmp_path / "a.nir", "")
    read, _ = read_nir(without_metadata(tmp_path / "a.nir"), 20)
    assert [layer.neuron for layer in read.layers] == [layer.neuron for layer in network.layers]


def test_pooling_is_marked_as_fixed(conv_chain: Any, tmp_path: Path) -> None:
    network = conv_chain()
    layer = network.layers[0]
    fixed = replace(layer, synapses=(replace(layer.synapses[0], is_fixed=True),))
    network = network.with_layers((fixed, *network.layers[1:]))
    write_nir(network, tmp_path / "a.nir", "")
    assert same(read_nir(tmp_path / "a.nir")[0], network)


# ---------------------------------------------------------------- what others find in a file


def test_stock_nir_reads_and_type_checks_square_kernels(conv_chain: Any, tmp_path: Path) -> None:
    network = conv_chain(weight_shape=(4, 2, 3, 3))
    write_nir(network, tmp_path / "a.nir", "made by a test")
    graph = nir.read(tmp_path / "a.nir")
    assert graph.metadata["origin"] == "made by a test"
    assert sorted(graph.edges) == [
        ("conv", "conv.flatten"), ("conv.flatten", "fc.synapse"), ("conv.synapse", "conv"),
        ("fc", "output"), ("fc.synapse", "fc"), ("input", "conv.synapse")]
    node = graph.nodes["conv"]
    assert isinstance(node, nir.CubaLIF) and node.v_threshold.shape == network.layers[0].shape
    # NIR's Lava examples: tau = dt / decay, r = tau_mem / dt, w_in = tau_syn / dt
    assert np.allclose([node.tau_syn, node.tau_mem], np.reshape([4 * DT, 32 * DT], (2, 1, 1, 1)))
    assert np.allclose(node.r, node.tau_mem / DT) and np.allclose(node.w_in, node.tau_syn / DT)
    assert (node.v_threshold == 120).all() and not node.v_leak.any() and not node.v_reset.any()


def test_a_sum_is_several_edges_into_one_node(tmp_path: Path) -> None:
    network = next(n for n in map(random_network, range(99)) if n.joins)
    graph = to_graph(network)
    into = [source for source, target in graph.edges if target == "output[0].synapse"]
    assert len(into) == 2 and sum(name.startswith("output[") for name in graph.nodes) == 1


def test_steps_are_left_out_of_chains_and_written_where_paths_differ() -> None:
    chain = next(n for n in map(random_network, range(99)) if n.is_chain)
    plain = chain.with_layers(tuple(replace(part, axonal_delay=None) for part in chain.layers))
    assert not any(isinstance(node, nir.Delay) for node in to_graph(plain).nodes.values())
    graph = to_graph(next(n for n in map(random_network, range(99)) if n.joins))
    delays = [node.delay.min() for node in graph.nodes.values() if isinstance(node, nir.Delay)]
    assert len(delays) == 4 and min(delays) >= DT
