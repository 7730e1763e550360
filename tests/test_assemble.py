"""Wide layers are scaled so that their currents fit, and spike as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.assemble import without_overflow
from pipeline.compress_synapse import CompressedSynapse, Level
from pipeline.emulate import emulate
from pipeline.lower import without_joins
from pipeline.mapping.layer_facts import facts_of
from pipeline.network import INPUT, Join, Layer, Network, Synapse
from pipeline.neuron import NEVER_VTH_MANT, CubaNeuron
from pipeline.quantize import to_integers

LIMIT = 1 << 23


def wide(n_inputs: int, is_summed: bool) -> Network:
    """Return a layer of two neurons; summed, it receives its inputs twice."""
    weight = np.zeros((2, n_inputs))
    joins = (Join("sum", "add", (INPUT, INPUT), (n_inputs,)),) if is_summed else ()
    synapse = Synapse("a", "sum" if is_summed else INPUT, weight)
    return Network("wide", (n_inputs,), 12, (
        Layer("a", (synapse,), CubaNeuron(4096, 0, 64), (2,)),), joins)


def level_of(network: Network, bits: int, step_exp: int, vth_mant: int) -> dict[str, Any]:
    n_inputs = network.input_shape[0]
    codes = np.tile(np.array([7, 5, -3, 6], dtype=np.int16), (2, n_inputs // 4))
    codes[1] = -codes[1] // 2
    part = CompressedSynapse(
        "a", Level(2 * n_inputs, bits), codes * 1.0, codes, vth_mant, step_exp, 2 * n_inputs,
        2 * n_inputs, 0.0, 0.0, 0, 0, "magnitude", None)
    return {"a": part}


@pytest.mark.parametrize(("n_inputs", "is_summed", "n_halvings"), [
    (800, False, 0), (1200, False, 1), (800, True, 1), (2400, True, 3)])
def test_currents_of_wide_and_of_summed_layers_fit_and_spikes_stay(
    n_inputs: int, is_summed: bool, n_halvings: int
) -> None:
    network = wide(n_inputs, is_summed)
    before = level_of(network, 4, step_exp=5, vth_mant=3200)
    after, ledger = without_overflow(network, before)
    assert after["a"].step_exp == 5 - n_halvings
    assert after["a"].vth_mant == 3200 >> n_halvings and len(ledger) == (n_halvings > 0)
    ours, theirs = (to_integers(network, groups)[0] for groups in (after, before))
    (layer,) = without_joins(ours).layers
    assert facts_of(layer).worst_case_current <= LIMIT
    spikes = (np.random.default_rng(0).random((3, n_inputs, 12)) < 0.02).astype(np.uint8)
    assert emulate(ours, spikes).spikes["a"].any()
    assert np.array_equal(emulate(ours, spikes).spikes["a"], emulate(theirs, spikes).spikes["a"])


def test_weights_that_cannot_be_halved_stay_for_the_chips_rule_to_judge() -> None:
    network = wide(40_000, False)
    before = level_of(network, 8, step_exp=1, vth_mant=3200)
    after, ledger = without_overflow(network, before)
    assert after == before and ledger == ()


def read_out(n_inputs: int) -> tuple[Network, dict[str, Any]]:
    network = wide(n_inputs, False)
    (layer,) = network.layers
    network = network.with_layers((replace(layer, neuron=CubaNeuron(4096, 4096, NEVER_VTH_MANT)),))
    before = level_of(network, 8, step_exp=1, vth_mant=1024)["a"]
    codes = (16 * before.codes).astype(np.int16)
    return network, {"a": replace(before, codes=codes, weight=codes * 1.0)}


@pytest.mark.parametrize(("n_inputs", "factor"), [(2000, 4), (4000, 8)])
def test_a_read_out_gets_coarser_codes_rather_than_currents_beyond_24_bits(
    n_inputs: int, factor: int
) -> None:
    network, before = read_out(n_inputs)
    after, (entry,) = without_overflow(network, before)
    ours, _ = to_integers(network, after)
    assert LIMIT / 4 < facts_of(ours.layers[0]).worst_case_current <= LIMIT
    assert f"codes divided by {factor} " in entry.what
    assert np.array_equal(after["a"].codes, np.rint(before["a"].codes / factor))
    assert np.allclose(after["a"].weight, after["a"].codes * float(factor))


def test_a_read_out_of_which_nothing_would_be_left_stays_for_the_chips_rule_to_judge() -> None:
    network, before = read_out(1_000_000)
    after, ledger = without_overflow(network, before)
    assert after == before and ledger == ()
