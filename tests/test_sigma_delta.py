"""Sigma-delta neurons: Lava's arithmetic, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sigma_delta_networks import chain, dense, encoder, random_weight

from pipeline import emulate as emulator
from pipeline.artifact import load_artifact, save_artifact
from pipeline.diverge import diverge
from pipeline.emulate import emulate, output_scores
from pipeline.errors import ExportError, UnsupportedLayerError
from pipeline.export_netx import write_netx
from pipeline.graded import depths, state_of
from pipeline.lower import without_joins
from pipeline.network import INPUT, ConvGeometry, Join, Layer, Network, Synapse
from pipeline.neuron import SigmaDeltaNeuron
from pipeline.quantize import as_trained


def data_for(network: Network, n_samples: int = 3, seed: int = 1) -> NDArray[np.int32]:
    """Return a random walk of even numbers in 2^-6, (n, *input_shape, n_steps)."""
    rng = np.random.default_rng(seed)
    shape: Any = (n_samples, *network.input_shape, network.n_steps)
    walk = 2 * np.cumsum(rng.integers(-6, 7, shape), axis=-1)
    return np.clip(walk, -256, 254).astype(np.int32)


# ------------------------------------------------------------ arithmetic


def as_lava_computes(
    acc: NDArray[np.int32], neuron: SigmaDeltaNeuron
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return messages and sigma, (t, out), by the statements of lava.proc.sdn.models."""
    zero = np.zeros(acc.shape[1], dtype=np.int32)
    sigma, act, residue, error = zero, zero, zero, zero
    vth, bias = (np.array(x, dtype=np.int32) << 12 for x in (neuron.vth_mant, neuron.bias or 0))
    sent, sigmas = [], []
    for a_in in acc:
        if neuron.role == "delta":
            new = np.left_shift(a_in, 12)
        else:
            sigma = a_in + sigma
            new = sigma + bias
            new = np.maximum(new, 0) if neuron.activation == "relu" else new
        delta = new - act + residue
        if neuron.is_cumulative:
            error = error + delta
            s_out = np.where(np.abs(error) >= vth, delta, 0)
            error = error * (1 - (np.abs(s_out) > 0)).astype(np.int32)
        else:
            s_out = np.where(np.abs(delta) >= vth, delta, 0)
        residue, act = delta - s_out, new
        sent.append(sigma if neuron.role == "sigma" else np.right_shift(s_out, 6))
        sigmas.append(sigma)
    return np.array(sent), np.array(sigmas)


NEURON = st.builds(
    SigmaDeltaNeuron, vth_mant=st.integers(0, 40) | st.integers(0, 1 << 17),
    role=st.sampled_from(["delta", "sigma_delta", "sigma"]),
    activation=st.sampled_from(["relu", "none"]), is_cumulative=st.booleans(),
    bias=st.none() | st.tuples(*[st.integers(-4096, 4095)] * 3))


@given(NEURON, st.integers(0, 1000), st.sampled_from([1 << 6, 1 << 18, 1 << 30]))
def test_kernels_compute_what_lava_does_also_where_32_bits_wrap(
    neuron: SigmaDeltaNeuron, seed: int, largest: int
) -> None:
    acc = np.random.default_rng(seed).integers(-largest, largest, (2, 12, 3)).astype(np.int32)
    layer = Layer("a", (), neuron, (3,))
    sent, sigma, _ = state_of(layer, 2).run(acc, with_states=True)
    for n in range(2):
        expected, sigmas = as_lava_computes(acc[n], neuron)
        if neuron.role == "delta":
            assert np.array_equal(sent[n].T, expected)
        else:
            assert np.array_equal(sent[n].T[1:], expected[:-1]) and not sent[n, :, 0].any()
            assert np.array_equal(sigma[n].T, sigmas)


@given(st.integers(0, 1000))
def test_all_that_changes_arrives_if_nothing_is_below_the_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    acc = 64 * rng.integers(-1000, 1000, (1, 20, 3)).astype(np.int32)  # nothing to cut off
    layer = Layer("a", (), SigmaDeltaNeuron(0), (3,))
    messages, _, act = state_of(layer, 1).run(acc, with_states=True)
    assert np.array_equal(np.cumsum(messages, axis=-1)[..., 1:] << 6, act[..., :-1])


@pytest.mark.parametrize("n_at_once", [1, 5])
def test_a_run_in_pieces_is_one_run(n_at_once: int, monkeypatch: Any) -> None:
    network = chain()
    data = data_for(network)
    for bias_from in ("first_input", "power_on"):
        whole = emulate(network, data, with_states=True, bias_from=bias_from)
        monkeypatch.setattr(emulator, "ACC_BYTES", 4 * len(data) * 12 * n_at_once)
        pieces = emulate(network, data, with_states=True, bias_from=bias_from)
        monkeypatch.undo()
        for part in ("spikes", "u", "v", "n_active"):
            for name, values in getattr(whole, part).items():
                assert np.array_equal(values, getattr(pieces, part)[name]), (part, name)


def test_sums_of_a_convolution_wrap_at_24_bits() -> None:
    kernel = np.full((1, 1, 1, 1), 254, dtype=np.int32)
    synapse = Synapse("c", INPUT, kernel, ConvGeometry())
    conv = Layer("c", (synapse,), SigmaDeltaNeuron(0, "sigma"), (1, 1, 1))
    network = Network("wraps", (1, 1, 1), 3, (conv,))
    data = np.full((1, 1, 1, 1, 3), 40_000, dtype=np.int32)
    wrapped = 254 * 40_000 - (1 << 24)
    assert emulate(network, data).spikes["c"].ravel().tolist() == [0, wrapped, 2 * wrapped]


# ------------------------------------------------------------ steps, biases, joins


def test_each_layer_but_the_encoder_takes_one_step() -> None:
    network = chain()
    assert depths(network) == {INPUT: 0, "in": 0, "a": 1, "b": 2, "out": 3}
    joined = Network("joined", (12,), 4, (
        encoder((12,)), dense("a", "in", np.eye(12)), dense("b", "a", np.eye(12)),
        dense("c", "sum", np.eye(12))), (Join("sum", "add", ("a", "b"), (12,)),))
    assert depths(joined)["sum"] == 1 and depths(joined)["c"] == 2


def test_biases_act_when_the_input_arrives_or_from_power_on() -> None:
    network = Network("biased", (2,), 6, (
        encoder((2,)), dense("a", "in", np.eye(2), bias=(8, 8)),
        dense("b", "a", 0 * np.eye(2), bias=(8, 8))))
    silence = np.zeros((1, 2, 6), dtype=np.int32)
    for bias_from, first in (("first_input", (1, 2)), ("power_on", (0, 0))):
        sent = emulate(network, silence, bias_from=bias_from).spikes  # type: ignore[arg-type]
        for name, step in zip("ab", first, strict=True):
            assert np.argwhere(sent[name][0, 0]).ravel().tolist() == [step]
            assert sent[name][0, 0, step] == 8 * 64


def test_joined_messages_are_those_of_the_lowered_network() -> None:
    rng = np.random.default_rng(3)
    network = Network("joined", (12,), 24, (
        encoder((12,)), dense("a", "in", random_weight(rng, 8, 12)),
        dense("b", "in", random_weight(rng, 8, 12)),
        dense("c", "cat", random_weight(rng, 4, 16), role="sigma"),
        dense("d", "sum", random_weight(rng, 4, 8), role="sigma")), (
        Join("cat", "concat", ("a", "b"), (16,)), Join("sum", "add", ("a", "b"), (8,))))
    data = data_for(network)
    joined, lowered = emulate(network, data), emulate(without_joins(network), data)
    for name, values in joined.spikes.items():
        assert np.array_equal(values, lowered.spikes[name])
    assert np.abs(joined.spikes["d"]).max() > 255


def test_the_score_of_an_output_is_what_it_sent() -> None:
    network = chain()
    data = data_for(network)
    sent = emulate(network, data).spikes["out"]
    assert np.array_equal(output_scores(network, data), sent.sum(axis=-1, dtype=np.int64))


def test_two_sigma_delta_networks_are_compared(tmp_path: Path) -> None:
    network = chain()
    save_artifact(tmp_path / "n.npz", network, {})
    twin = load_artifact(tmp_path / "n.npz")
    changed = replace(twin.layers[2], synapses=(replace(
        twin.layers[2].synapses[0], weight=twin.layers[2].synapses[0].weight + 2),))
    twin = twin.with_layers((*twin.layers[:2], changed, twin.layers[3]))
    data = data_for(network)
    rows = diverge(network, emulate(network, data), twin, emulate(twin, data))
    assert [row.n_differing_isolated > 0 for row in rows] == [False, False, True, False]
    assert "63 of 63 weights differ" in rows[2].causes[0]


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("changes", "message"), [
    ({"axonal_delay": (1, 0)}, "'a': axonal delays, .*sigma-delta"),
    ({"recurrent": Synapse("r", "a", np.eye(2, dtype=np.int32))}, "'a': recurrent synapses of sig"),
    ({"neuron": SigmaDeltaNeuron(1 << 18)}, "'a': threshold mantissa 262144 is outside"),
    ({"neuron": SigmaDeltaNeuron(1, bias=(1,))}, "'a': 1 biases for 2 channels"),
    ({"neuron": SigmaDeltaNeuron(1, bias=(1, 5000))}, "'a': bias 5000 of a channel is outside"),
])
def test_what_no_process_has_is_refused(changes: dict[str, Any], message: str) -> None:
    layer = replace(dense("a", INPUT, np.eye(2)), **changes)
    with pytest.raises(UnsupportedLayerError, match=message):
        Network("n", (2,), 4, (layer,))


def test_what_takes_cuba_neurons_only_says_so() -> None:
    with pytest.raises(UnsupportedLayerError, match="'a': sigma-delta neurons .*cuba"):
        _ = chain().layers[1].cuba


def test_what_a_file_cannot_say_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'b': NetX gives every sigma-delta layer .* relu"):
        write_netx(chain(), tmp_path / "n.net", "test")


def test_rounding_to_8_bits_leaves_other_families_alone() -> None:
    network = chain()
    assert as_trained(network) == (network, ())
