"""A synapse group of any shape reaches its level: groups by their own curvature, on one grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synapse_groups import BY_OBS, conv_net, pruned_of

from pipeline.compress import Pruning, Scaling, prune
from pipeline.compress_synapse import (
    CompressedSynapse,
    Level,
    Method,
    naming,
    prune_synapse,
    quantize_synapse,
    quantizer_of,
)
from pipeline.emulate import emulate
from pipeline.errors import CalibrationError, CompressionError
from pipeline.fixedpoint import inferred_weight_bits
from pipeline.network import Network
from pipeline.quantize import to_integers


def compressed(network: Network, spikes: Any, level: Level, method: Method) -> CompressedSynapse:
    pruned = pruned_of(network, spikes, level.n_keep, method.pruning)
    (synapse,) = network.synapses
    return quantize_synapse(
        network.layers[0], synapse, pruned, level, quantizer_of(pruned, method), method)


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("share", "bits"), [(1.0, 8), (0.6, 4), (0.4, 2)])
def test_a_grouped_convolution_reaches_its_level(
    groups: int, share: float, bits: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    spikes = random_spikes(network, 12, seed=3)
    (synapse,) = network.synapses
    n_keep = round(share * synapse.weight.size)
    part = compressed(network, spikes, Level(n_keep, bits), Method())
    assert part.weight.shape == part.codes.shape == synapse.weight.shape
    assert part.n_kept == n_keep
    assert part.n_rounded_to_zero == n_keep - np.count_nonzero(part.codes) >= 0
    integer, _ = to_integers(network, {"c": part})
    assert integer.synapses[0].weight_bits == bits
    dense, ours = (emulate(n, spikes).spikes["c"].mean() for n in (network, integer))
    assert ours == pytest.approx(dense, rel={8: 0.02, 4: 0.3, 2: 0.6}[bits])


def test_at_eight_bits_without_pruning_hardly_a_spike_changes(random_spikes: Any) -> None:
    network = conv_net(2)
    spikes = random_spikes(network, 12, seed=3)
    part = compressed(network, spikes, Level(network.synapses[0].weight.size, 8), Method())
    assert part.algorithm == "nothing to remove" and part.pruning_loss == 0.0
    integer, _ = to_integers(network, {"c": part})
    before, after = (emulate(n, spikes).spikes["c"] for n in (network, integer))
    assert (before != after).sum() < 0.05 * before.sum()


@pytest.mark.parametrize("groups", [2, 4])
def test_each_convolution_group_is_pruned_by_its_own_curvature_and_all_share_one_grid(
    groups: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    (synapse,) = network.synapses
    spikes = random_spikes(network, 6)
    spikes[:, 0] &= spikes[:, 1]  # groups see unequal activity
    n_keep = synapse.weight.size // 3
    pruned = pruned_of(network, spikes, n_keep)
    assert pruned.n_kept == n_keep and len(pruned.parts) == groups
    W = synapse.weight.reshape(groups, 8 // groups, -1).astype(np.float64)
    for g, part in enumerate(pruned.parts):
        alone = prune(W[g], pruned.hessian[g], int(part.mask.sum()), pruning=Pruning("obs"))
        assert np.array_equal(part.mask, alone.mask)
        assert np.array_equal(part.weight, alone.weight)
    whole = compressed(network, spikes, Level(n_keep, 4), Method(BY_OBS))
    steps = whole.weight[whole.codes != 0] / whole.codes[whole.codes != 0]
    assert np.allclose(steps, 2**whole.step_exp * 150 / whole.vth_mant, rtol=1e-14)
    mask = np.stack([p.mask for p in pruned.parts]).reshape(synapse.weight.shape)
    assert not whole.codes[~mask].any()


def test_predicted_losses_add_up_to_the_quadratic_form(random_spikes: Any) -> None:
    network = conv_net(2)
    (synapse,) = network.synapses
    spikes = random_spikes(network, 6)
    level, method = Level(synapse.weight.size // 2, 3), Method()
    pruned = pruned_of(network, spikes, level.n_keep, method.pruning)
    part = compressed(network, spikes, level, method)
    change = (part.weight - synapse.weight).reshape(2, 4, -1)
    expected = 0.5 * np.einsum("gri,gij,grj->", change, pruned.hessian, change)
    assert part.pruning_loss + part.quantization_loss == pytest.approx(expected)


def test_rounding_is_a_switch(random_spikes: Any) -> None:
    network = conv_net(1)
    spikes = random_spikes(network, 6)
    level = Level(100, 3)
    gptq, nearest = (
        compressed(network, spikes, level, Method(rounding=r)) for r in ("gptq", "nearest"))
    pruned = pruned_of(network, spikes, 100, Pruning())
    (part,) = pruned.parts
    step = 2**nearest.step_exp * 150 / nearest.vth_mant
    expected = np.clip(np.rint(part.weight / step), -4, 3)
    assert np.array_equal(nearest.codes.reshape(8, -1), expected)
    assert gptq.quantization_loss < nearest.quantization_loss


@pytest.mark.parametrize(
    "scaling", [Scaling(), Scaling("maximum"), Scaling("error", True)], ids=str)
def test_ternary_codes_are_declared_as_two_bits_on_export(
    scaling: Scaling, random_spikes: Any
) -> None:
    network = conv_net(1)
    spikes = random_spikes(network, 6)
    part = compressed(network, spikes, Level(200, 2, True), Method(scaling=scaling))
    assert set(np.unique(part.codes)) == {-1, 0, 1}
    integer, ledger = to_integers(network, {"c": part})
    (synapse,) = integer.synapses
    assert synapse.weight_bits == inferred_weight_bits(synapse.weight) == 2
    assert len(np.unique(np.abs(synapse.weight))) == 2
    assert not any("codes need only" in entry.what for entry in ledger)


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_of_a_level_fit_its_bits(bits: int) -> None:
    low, high = Level(1, bits).codes
    assert high - low + 1 == 2**bits and low <= 0 <= high
    assert Level(1, 2, True).codes == (-1, 1)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("excess", [0, 1])
def test_counts_that_cannot_be_reached_are_refused_with_the_name_of_the_group(
    groups: int, excess: int, random_spikes: Any
) -> None:
    network = conv_net(groups)
    size = network.synapses[0].weight.size
    n_keep = size + 1 if excess else groups - 1
    with pytest.raises(CompressionError, match=f"^synapse 'c': {n_keep} of {size} weights to keep"):
        with naming("c"):
            pruned_of(network, random_spikes(network), n_keep)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_singular_or_non_finite_curvature_is_refused(groups: int, bad: float) -> None:
    network = conv_net(groups)
    (synapse,) = network.synapses
    d_in = 36 // groups
    hessian = np.stack([np.eye(d_in)] * groups)
    hessian[-1, -1, -1] = bad
    with pytest.raises(CalibrationError, match="not positive definite"):
        prune_synapse(network, synapse, synapse.weight, hessian, 50, Pruning())


def test_errors_are_named_once_and_keep_their_kind() -> None:
    for kind in (CompressionError, CalibrationError):
        with pytest.raises(kind, match="^synapse 'a': too little$"), naming("a"), naming("a"):
            raise kind("too little")
    with pytest.raises(ValueError, match="^other$"), naming("a"):
        raise ValueError("other")


def test_one_bit_without_a_positive_weight_is_refused(random_spikes: Any) -> None:
    network = conv_net(1)
    layer = network.layers[0]
    negative = replace(layer.synapses[0], weight=-np.abs(layer.synapses[0].weight) - 2)
    network = network.with_layers((replace(layer, synapses=(negative,)),))
    with pytest.raises(CompressionError, match="no weight has a sign that codes 0..1 can hold"):
        compressed(network, random_spikes(network), Level(288, 1), Method())
