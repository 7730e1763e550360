"""What a refusal says would fit does fit, also where few axons leave a chip; it says so soon."""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_place import NEURON, dense_net, one_tile_chips, with_zeros

from hardware_targets import Target, load_target
from pipeline.errors import DesignRuleError
from pipeline.mapping import chips
from pipeline.mapping.core_demand import Demand, Excess
from pipeline.mapping.partition import Misfit, Partition
from pipeline.mapping.place import place
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse


def small(off_chip_axons: int, n_neurons: int) -> Target:
    """Return chips of four small cores."""
    target = one_tile_chips(off_chip_axons)
    few = target.capacities.neurons_per_core.model_copy(update={"value": n_neurons})
    return target.model_copy(update={
        "capacities": target.capacities.model_copy(update={"neurons_per_core": few})})


@pytest.mark.parametrize("off_chip_axons", [8, 12])
def test_remedies_are_tried_within_what_may_leave_a_chip(off_chip_axons):
    # eight cores would go on two chips; cut finer for the sake of the axons, they do not
    network, target = dense_net(40, 40, 30, 10), small(off_chip_axons, 12)
    with pytest.raises(DesignRuleError, match="l0 . . cores . decided by off-chip axons") as error:
        place(network, target, max_chips=2)
    (zeros,) = re.findall(r"in every layer: a sparsity of (0\.\d+); as", str(error.value))
    assert place(with_zeros(network, float(zeros)), target, max_chips=2).n_chips == 2
    (n_chips,) = re.findall(r"as it is, it fits (\d+) chips", str(error.value))
    assert place(network, target, max_chips=int(n_chips)).n_chips == int(n_chips) > 2


def test_a_layer_of_one_neuron_a_core_is_not_cut_again_and_again(monkeypatch):
    rounds = []
    arrange = chips.arrange
    monkeypatch.setattr(
        chips, "arrange", lambda *given: rounds.append(given) or arrange(*given))
    result = chips.spread(Partition(dense_net(3, 8, 400), small(1, 40)), 200, 0)
    assert isinstance(result, chips.Overflow) and result.excess.limit == "off-chip axons"
    assert result.cuts["l0"].n_cores == 8 and len(rounds) < 6


def test_one_channel_that_fits_no_core_is_found_before_any_grid_is_tried(monkeypatch):
    weight = np.zeros((8, 512, 3, 3), np.int32)
    weight[0], weight[1:, :20] = 2, 2  # 4,608 and 180 inputs
    synapse = Synapse("c", INPUT, weight, ConvGeometry((1, 1), (1, 1)), 8)
    network = Network("n", (512, 8, 8), 5, (Layer("c", (synapse,), NEURON, (8, 8, 8)),))
    measured = []
    piece = Demand.piece
    monkeypatch.setattr(
        Demand, "piece", lambda *given: measured.append(given) or piece(*given))
    misfit = Partition(network, load_target("loihi1")).cut({})
    assert isinstance(misfit, Misfit) and misfit.excess.value == 4608
    assert len(measured) < 5


@pytest.mark.parametrize(("off_chip_axons", "limit"), [(1, "off-chip axons"), (16, "")])
def test_a_layer_cut_finer_keeps_to_the_axons_it_takes_to_feed_itself(off_chip_axons, limit):
    recurrent = np.zeros((20, 20), np.int32)
    recurrent[:, 0] = 2  # one neuron reaches every core of its layer
    network = Network("n", (3,), 5, (
        Layer("a", (Synapse("a", INPUT, np.full((20, 3), 2, np.int32), None, 8),), NEURON, (20,),
              None, Synapse("a.rec", "a", recurrent, None, 8)),
        Layer("b", (Synapse("b", "a", np.full((40, 20), 2, np.int32), None, 8),), NEURON, (40,))))
    target = small(off_chip_axons, 10)
    bound = target.capacities.output_axons_per_core.model_copy(update={"value": 20})
    target = target.model_copy(update={
        "capacities": target.capacities.model_copy(update={"output_axons_per_core": bound})})
    # on 20 cores the first neuron would need 20 axons for its own layer and 4 for the other
    found = Partition(network, target).cut({"a": (20, Excess("off-chip axons", 9, 1))})
    assert isinstance(found, Misfit) and found.excess == Excess("output axons", 24, 20)
    result = chips.spread(Partition(network, target), 30, 0)
    if limit:
        assert isinstance(result, chips.Overflow) and result.excess.limit == limit
    else:
        assert max(core.n_output_axons for core in result.cores) <= 20
