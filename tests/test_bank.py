"""The bank holds every level once, and what is stitched from it is direct compression."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import bank as bank_module
from pipeline.bank import LayerBank
from pipeline.calibrate import Calibration, calibrate
from pipeline.compress import Pruning, Scaling, damped
from pipeline.compress_synapse import (
    CompressedSynapse,
    Level,
    Method,
    prune_synapse,
    quantize_synapse,
    quantizer_of,
)
from pipeline.errors import CalibrationError, CompressionError
from pipeline.importance import output_importance
from pipeline.network import Network
from pipeline.quantize import to_integers

METHODS = [
    Method(), Method(importance="output"), Method(Pruning("obs", "2:4"), is_act_ordered=True),
    Method(Pruning("magnitude"), "nearest", Scaling("maximum", True)),
]
LEVELS = (Level(60, 4), Level(60, 2), Level(100, 8), Level(60, 2, True))


@pytest.fixture(scope="module", params=["dense", "conv"])
def network(request: Any, dense_chain: Any, conv_chain: Any) -> Any:
    return dense_chain() if request.param == "dense" else conv_chain(
        input_shape=(2, 5, 4), weight_shape=(6, 2, 3, 3))


@pytest.fixture(scope="module")
def calibration(network: Network, random_spikes: Any) -> Calibration:
    return calibrate(network, random_spikes(network, 8), "")


def assert_same(a: CompressedSynapse, b: CompressedSynapse) -> None:
    for field in fields(CompressedSynapse):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype and one.shape == other.shape
            assert one.tobytes() == other.tobytes(), field.name
        else:
            assert one == other and type(one) is type(other), field.name


def directly(
    network: Network, calibration: Calibration, method: Method, name: str, level: Level
) -> CompressedSynapse:
    synapse, layer = network.synapse(name), network.layer_of(name)
    hessian = damped(calibration.curvatures[name].hessian, method.damping_frac)
    importance = None
    if method.importance == "output":
        importance = output_importance(network, calibration.rates)[layer.name]
    pruned = prune_synapse(
        network, synapse, synapse.weight, hessian, level.n_keep, method.pruning, importance)
    return quantize_synapse(
        layer, synapse, pruned, level, quantizer_of(pruned, method), method)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_what_the_bank_stitches_is_direct_compression(
    network: Network, calibration: Calibration, method: Method
) -> None:
    bank = LayerBank(network, calibration, method)
    names = [s.name for s in network.synapses]
    held = {name: {level: bank.get(name, level) for level in LEVELS} for name in names}
    for level in LEVELS:
        parts = {name: held[name][level] for name in names}
        expected = {name: directly(network, calibration, method, name, level) for name in names}
        for name in names:
            assert_same(parts[name], expected[name])
        stitched, directly_made = (to_integers(network, p)[0] for p in (parts, expected))
        assert [x.neuron for x in stitched.layers] == [x.neuron for x in directly_made.layers]
        for name in names:
            weight = stitched.synapse(name).weight
            assert np.array_equal(weight, directly_made.synapse(name).weight) and weight.any()


def test_a_level_is_compressed_once(network: Network, calibration: Calibration) -> None:
    bank, name = LayerBank(network, calibration, Method()), network.synapses[0].name
    assert bank.get(name, LEVELS[0]) is bank.get(name, LEVELS[0])
    assert bank.pruned(name, 60) is bank.pruned(name, 60)


@pytest.mark.parametrize("method", METHODS[1:3], ids=str)
def test_a_stored_level_equals_a_recomputed_one_bit_for_bit(
    network: Network, calibration: Calibration, method: Method, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [s.name for s in network.synapses]
    first = LayerBank(network, calibration, method, tmp_path)
    computed = {(n, level): first.get(n, level) for n in names for level in set(LEVELS)}
    assert len(list(tmp_path.iterdir())) == len(computed)
    assert not list(tmp_path.glob("*.tmp"))

    def refuse(*_: Any) -> Any:
        raise AssertionError("it was stored already")

    with monkeypatch.context() as patch:
        patch.setattr(bank_module, "prune_synapse", refuse)
        again = LayerBank(network, calibration, method, tmp_path)
        for (name, level), part in computed.items():
            assert_same(again.get(name, level), part)
    afresh = LayerBank(network, calibration, method)
    for (name, level), part in computed.items():
        assert_same(afresh.get(name, level), part)


def test_a_damaged_level_is_computed_again(
    network: Network, calibration: Calibration, tmp_path: Path
) -> None:
    name = network.synapses[0].name
    part = LayerBank(network, calibration, Method(), tmp_path).get(name, LEVELS[0])
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"not an archive")
    assert_same(LayerBank(network, calibration, Method(), tmp_path).get(name, LEVELS[0]), part)


@pytest.mark.parametrize("change", ["method", "curvature", "threshold", "weight", "mask"])
def test_what_a_level_depends_on_is_not_served_from_before(
    network: Network, calibration: Calibration, tmp_path: Path, change: str
) -> None:
    name = network.synapses[0].name
    LayerBank(network, calibration, Method(), tmp_path).get(name, LEVELS[0])
    method, layer = Method(), network.layers[0]
    if change == "method":
        method = Method(damping_frac=0.5)
    elif change == "curvature":
        curvature = calibration.curvatures[name]
        swapped = curvature.hessian[:, ::-1, ::-1].copy()
        calibration = replace(calibration, curvatures={
            **calibration.curvatures, name: replace(curvature, hessian=swapped)})
    elif change == "threshold":
        higher = replace(layer, neuron=replace(layer.neuron, vth_mant=200))
        network = network.with_layers((higher, network.layers[1]))
    else:
        synapse = layer.synapses[0]
        allowed = np.random.default_rng(0).random(synapse.weight.shape) < 0.5
        synapse = replace(synapse, weight=-synapse.weight) if change == "weight" else (
            replace(synapse, weight=synapse.weight * allowed, allowed=allowed))
        network = network.with_layers((replace(layer, synapses=(synapse,)), network.layers[1]))
    found = LayerBank(network, calibration, method, tmp_path).get(name, LEVELS[0])
    assert len(list(tmp_path.iterdir())) == 2
    assert_same(found, directly(network, calibration, method, name, LEVELS[0]))


def test_a_stored_level_is_not_served_where_layers_behind_it_have_changed(
    dense_chain: Any, random_spikes: Any, tmp_path: Path
) -> None:
    method, network = Method(Pruning("obs"), importance="output"), dense_chain()
    spikes = random_spikes(network, 8)
    before = LayerBank(network, calibrate(network, spikes, ""), method, tmp_path).get(
        "fc0", LEVELS[0])
    weight = network.synapse("fc1").weight.copy()
    weight[:, :8] = 0
    last = network.layers[1]
    network = network.with_layers((
        network.layers[0], replace(last, synapses=(replace(last.synapses[0], weight=weight),))))
    calibration = calibrate(network, spikes, "")
    after = LayerBank(network, calibration, method, tmp_path).get("fc0", LEVELS[0])
    assert_same(after, directly(network, calibration, method, "fc0", LEVELS[0]))
    assert not np.array_equal(after.codes, before.codes)


def test_refusals_carry_the_name_of_the_group(
    network: Network, calibration: Calibration, tmp_path: Path
) -> None:
    bank = LayerBank(network, calibration, Method(), tmp_path)
    for synapse in network.synapses:
        size = synapse.weight.size
        for n_keep in (0, size + 1):
            with pytest.raises(
                CompressionError, match=f"^synapse '{synapse.name}': {n_keep} of {size} weights"
            ):
                bank.get(synapse.name, Level(n_keep, 4))
    name = network.synapses[0].name
    broken = replace(calibration, curvatures={name: replace(
        calibration.curvatures[name],
        hessian=np.full_like(calibration.curvatures[name].hessian, np.nan))})
    with pytest.raises(CalibrationError, match=f"^synapse '{name}': .*not positive definite"):
        LayerBank(network, broken, Method()).get(name, Level(30, 4))
    assert not list(tmp_path.iterdir())
