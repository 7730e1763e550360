"""Floats become integers of the chip in one place, and the ledger lists all that changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration, calibrate
from pipeline.compress import Pruning, Scaling
from pipeline.compress_synapse import CompressedSynapse, Level, Method
from pipeline.errors import CompressionError
from pipeline.fixedpoint import MAX_EXACT_VTH_MANT, inferred_weight_bits
from pipeline.ledger import LedgerEntry
from pipeline.network import INPUT, Layer, Network, Synapse
from pipeline.neuron import CubaNeuron
from pipeline.quantize import as_trained, to_integers


def single(weight: Any, vth_mant: int = 80) -> Network:
    array = np.asarray(weight)
    synapse = Synapse("fc", INPUT, array)
    layer = Layer("fc", (synapse,), CubaNeuron(1024, 128, vth_mant), (len(array),))
    return Network("one", (array.shape[1],), 10, (layer,))


DEFAULT = Method()


def compressed(
    network: Network, spikes: Any, levels: dict[str, Level], method: Method = DEFAULT
) -> tuple[dict[str, CompressedSynapse], Calibration]:
    calibration = calibrate(network, spikes, "")
    bank = LayerBank(network, calibration, method)
    return {name: bank.get(name, level) for name, level in levels.items()}, calibration


# ---------------------------------------------------------------- as trained


def test_hooked_weights_are_unchanged_and_the_ledger_is_empty(conv_chain: Any) -> None:
    network = conv_chain(largest=254)
    for dtype in (np.int32, np.float64):
        hooked = network.with_layers(tuple(
            replace(layer, synapses=tuple(
                replace(s, weight=s.weight.astype(dtype), weight_bits=None) for s in layer.synapses
            )) for layer in network.layers
        ))
        integer, ledger = as_trained(hooked)
        assert ledger == ()
        for before, after in zip(network.synapses, integer.synapses, strict=True):
            assert np.array_equal(before.weight, after.weight)
            assert after.weight.dtype == np.int32
            assert after.weight_bits == inferred_weight_bits(after.weight)
        assert [layer.neuron for layer in integer.layers] == [
            layer.neuron for layer in network.layers
        ]


def test_shadow_weights_are_rounded_half_to_even_and_clipped_as_by_slayers_hook() -> None:
    weight = [[1.0, 3.0, 5.0, -1.0, -3.0, 0.99, 2.5, 254.9, 255.0, 300.0, -257.0, -257.1, -1e6]]
    integer, ledger = as_trained(single(weight))
    assert integer.synapses[0].weight.tolist() == [
        [0, 4, 4, 0, -4, 0, 2, 254, 254, 254, -256, -256, -256]
    ]
    assert ledger == (
        LedgerEntry("fc", "rounded to even integers", 11, 13),
        # 255 is halfway between 254 and 256, and 256 is the even half
        LedgerEntry("fc", "clipped to -256..254", 4, 13),
    )


def test_layer_that_rounds_to_zero_is_refused_by_name() -> None:
    with pytest.raises(CompressionError, match="layer 'fc': all weights are zero"):
        as_trained(single([[0.9, -1.0, 0.2]]))


# ---------------------------------------------------------------- compressed


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_compressed_network_becomes_even_integers_on_the_grid_of_its_bits(
    kind: str, bits: int, dense_chain: Any, conv_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain() if kind == "dense" else conv_chain(input_shape=(2, 5, 4))
    levels = {s.name: Level(s.weight.size // 2, bits) for s in network.synapses}
    parts, _ = compressed(network, random_spikes(network, 10), levels)
    integer, _ = to_integers(network, parts)
    assert integer.is_integer
    for layer, dense in zip(integer.layers, network.layers, strict=True):
        (synapse,) = layer.synapses
        assert not (synapse.weight & 1).any()
        assert synapse.weight.min() >= -256 and synapse.weight.max() <= 254
        assert synapse.weight_bits == inferred_weight_bits(synapse.weight) <= bits
        assert 1 <= layer.neuron.vth_mant <= MAX_EXACT_VTH_MANT
        # weights and threshold are scaled together: the float network is the same network
        scale = dense.neuron.vth_mant / layer.neuron.vth_mant
        assert np.allclose(parts[synapse.name].weight, synapse.weight * scale, rtol=1e-14)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(
    "method", [Method(), Method(is_act_ordered=True), Method(Pruning("obs"), "nearest"),
               Method(Pruning(pattern="2:4"), scaling=Scaling("maximum"))], ids=str)
def test_pruned_weights_stay_zero_after_quantization(
    bits: int, method: Method, dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain()
    n_keep = {"fc0": 30, "fc1": 17}
    parts, calibration = compressed(
        network, random_spikes(network, 10), {name: Level(n, bits) for name, n in n_keep.items()},
        method,
    )
    integer, _ = to_integers(network, parts)
    bank = LayerBank(network, calibration, method)
    for synapse in integer.synapses:
        mask = bank.pruned(synapse.name, n_keep[synapse.name]).parts[0].mask
        assert not synapse.weight[~mask].any()
        assert 0 < np.count_nonzero(synapse.weight[mask]) <= mask.sum() < mask.size


def test_ledger_counts_what_was_pruned_rounded_to_zero_clipped_and_rescaled(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain()
    parts, _ = compressed(
        network, random_spikes(network, 10), {"fc0": Level(40, 2), "fc1": Level(20, 2)}
    )
    integer, ledger = to_integers(network, parts)
    listed = {(e.layer, e.what): (e.count, e.total) for e in ledger}
    assert listed["fc0", "weights pruned"] == (192 - 40, 192)
    assert listed["fc1", "weights pruned"] == (160 - 20, 160)
    for name, size in (("fc0", 192), ("fc1", 160)):
        part = parts[name]
        zeros = 40 if name == "fc0" else 20
        zeros -= np.count_nonzero(integer.layer_of(name).synapses[0].weight)
        expected = (zeros, size) if zeros else None
        assert listed.get((name, "kept weights rounded to zero")) == expected
        expected = (part.n_out_of_grid, size) if part.n_out_of_grid else None
        assert listed.get((name, "weights clipped at the end of the grid")) == expected
        assert any(e.layer == name and f"120 -> {part.vth_mant}" in e.what for e in ledger)
    assert all(entry.count > 0 for entry in ledger)
    assert sum(part.n_out_of_grid for part in parts.values()) > 0


def test_codes_that_need_fewer_bits_than_asked_are_in_the_ledger(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain(sizes=(12, 4))
    parts, _ = compressed(network, random_spikes(network), {"fc0": Level(48, 8)})
    few = replace(parts["fc0"], codes=np.where(parts["fc0"].codes > 0, 64, -64).astype(np.int16))
    integer, ledger = to_integers(network, {"fc0": few})
    bits = inferred_weight_bits(integer.synapses[0].weight)
    assert bits < 8
    assert LedgerEntry("fc0", f"codes need only {bits} of 8 bits", 1, 1) in ledger


def test_everything_kept_at_8_bits_stays_close_to_the_dense_network(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain(largest=254)
    parts, _ = compressed(
        network, random_spikes(network, 10), {"fc0": Level(192, 8), "fc1": Level(160, 8)}
    )
    for synapse in network.synapses:
        assert np.abs(parts[synapse.name].weight - synapse.weight).max() < 6


def test_all_codes_zero_is_refused_by_layer_name(dense_chain: Any, random_spikes: Any) -> None:
    network = dense_chain(sizes=(12, 4))
    parts, _ = compressed(network, random_spikes(network), {"fc0": Level(10, 4)})
    nothing = replace(parts["fc0"], codes=np.zeros((4, 12), dtype=np.int16))
    with pytest.raises(CompressionError, match="layer 'fc0': all weights are zero"):
        to_integers(network, {"fc0": nothing})


def test_more_sparsity_and_fewer_bits_never_predict_less_loss(
    dense_chain: Any, random_spikes: Any
) -> None:
    network = dense_chain(sizes=(12, 10))
    spikes = random_spikes(network, 10)
    by_sparsity = [
        compressed(network, spikes, {"fc0": Level(n, 8)})[0]["fc0"].pruning_loss
        for n in (120, 80, 40, 10)
    ]
    by_bits = [
        compressed(network, spikes, {"fc0": Level(60, b)})[0]["fc0"].quantization_loss
        for b in (8, 6, 4, 2)
    ]
    assert by_sparsity == sorted(by_sparsity) and by_sparsity[-1] > by_sparsity[0] == 0
    assert by_bits == sorted(by_bits) and by_bits[0] > 0
