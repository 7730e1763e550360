"""What a file holds is told, and every trap of NetX and Lava is named before it springs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import CheckpointError
from pipeline.export_netx import write_netx
from pipeline.inspection import inspect_checkpoint, inspect_network, traps
from pipeline.network import Network
from pipeline.neuron import NEVER_VTH_MANT


def first_changed(network: Network, weight: Any = None, **changes: Any) -> Network:
    """Return the network with the first layer's weights, own fields or neuron fields changed."""
    layer = network.layers[0]
    if weight is not None:
        (synapse,) = layer.synapses
        layer = replace(layer, synapses=(replace(
            synapse, weight=np.asarray(weight(synapse.weight), dtype=np.int32)),))
    own = {k: v for k, v in changes.items() if hasattr(layer, k)}
    neuron = {k: v for k, v in changes.items() if k not in own}
    layer = replace(layer, **own, neuron=replace(layer.neuron, **neuron))
    return network.with_layers((layer, *network.layers[1:]))


def test_facts_of_every_group_are_told(conv_chain: Any) -> None:
    network = conv_chain()
    rows = inspect_network(network)
    assert [row.layer for row in rows] == [layer.name for layer in network.layers]
    for row, layer in zip(rows, network.layers, strict=True):
        (synapse,) = layer.synapses
        assert (row.lowest, row.highest) == (synapse.weight.min(), synapse.weight.max())
        assert row.sparsity == pytest.approx(np.mean(synapse.weight == 0))
        assert row.threshold == str(layer.neuron.vth_mant)
        assert row.weight_bits == (synapse.weight_bits if row.kind == "dense" else None)
    assert "stride 2,1 pad 1,0" in rows[0].extras
    assert traps(network) == []


@pytest.mark.parametrize(("changes", "trap"), [
    ({"weight": lambda w: 0 * w}, "all weights are zero, at which the stock loader divides"),
    ({"weight": lambda w: np.abs(w) * 3}, "of one sign beyond 255: NetX shifts"),
    ({"weight": lambda w: -np.abs(w) * 3}, "of one sign beyond 255: NetX shifts"),
    ({"weight": lambda w: np.where(w < 0, -256, 0)}, "NetX clips them to -255"),
    ({"weight": lambda w: 4 * w}, "are beyond -256..254: NetX clips them"),
    ({"weight": lambda w: w + (w > 0)}, "odd weights: 8 bits with sign hold even values only"),
    ({"vth_mant": 4096}, "threshold mantissa 4096 is above 4095"),
    ({"vth_mant": NEVER_VTH_MANT}, "never fires: read its voltage"),
    ({"bias": (4,) * 16}, "biases one step before the first input"),
    ({"bias": (4,) * 16, "axonal_delay": (1,) * 16}, "NetX delays the input in place of"),
    ({"channel_current_decay": (7,) * 16}, "no NetX file: layer 'fc0': has one decay per channel"),
])
def test_traps_of_dense_layers_are_named(
    changes: dict[str, Any], trap: str, dense_chain: Any
) -> None:
    network = first_changed(dense_chain(sizes=(12, 16, 10), largest=126), **changes)
    assert any(trap in text for text in traps(network)), traps(network)


@pytest.mark.parametrize(("changes", "trap"), [
    ({"weight": lambda w: 8 * w}, "Lava's convolution takes them, no chip does"),
    ({"weight": lambda w: w + (w > 0)}, "Lava's convolution never truncates"),
    ({"axonal_delay": (1, 0, 2, 0)}, "NetX drops the delays of convolutions"),
])
def test_traps_of_convolutions_are_named(
    changes: dict[str, Any], trap: str, conv_chain: Any
) -> None:
    assert any(trap in text for text in traps(first_changed(conv_chain(), **changes)))


def test_tensors_of_a_checkpoint_are_told(tmp_path: Path) -> None:
    import torch

    values = torch.tensor([[0.0, 2.0], [float("nan"), -1.0]])
    torch.save({"w": values, "n": torch.tensor(3)}, tmp_path / "c.pt")
    w, n = inspect_checkpoint(tmp_path / "c.pt")
    assert (w["name"], w["shape"], w["lowest"], w["highest"]) == ("w", [2, 2], -1.0, 2.0)
    assert (w["zero_frac"], w["n_not_finite"], n["shape"]) == (0.25, 1, [])
    torch.save({"w": values, "epoch": 3}, tmp_path / "mixed.pt")
    with pytest.raises(CheckpointError, match="'epoch' is a int, not a tensor"):
        inspect_checkpoint(tmp_path / "mixed.pt")


class TestCommands:
    @pytest.fixture
    def net(self, dense_chain: Any, tmp_path: Path) -> Path:
        write_netx(dense_chain(), tmp_path / "a.net", "test")
        return tmp_path / "a.net"

    def test_inspect_prints_layers_and_json(self, net: Path, spikefit: Any, capsys: Any) -> None:
        assert spikefit("inspect", net) == 0
        shown = capsys.readouterr().out
        assert "12 x" not in shown and "16 x 12" in shown and "none that are known" in shown
        assert spikefit("inspect", net, "--json", "--steps", 33) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["n_steps"] == 33 and report["traps"] == []
        assert [row["weights"] for row in report["layers"]] == ["16 x 12", "10 x 16"]

    def test_equal_files_compare_equal(self, net: Path, spikefit: Any, capsys: Any) -> None:
        assert spikefit("compare", net, net, "--rate", 0.4) == 0
        shown = capsys.readouterr().out
        assert "no spike differs" in shown and "random spikes, 40%" in shown

    def test_files_that_part_say_where_and_why(
        self, net: Path, dense_chain: Any, spikefit: Any, capsys: Any
    ) -> None:
        other = first_changed(dense_chain(), vth_mant=150)
        write_netx(other, net.with_name("b.net"), "test")
        assert spikefit("compare", net, net.with_name("b.net"), "--rate", 0.4) == 2
        shown = capsys.readouterr()
        assert "threshold mantissa 120 against 150" in shown.out
        assert "A and B part in layer" in shown.err

    @pytest.mark.parametrize(("names", "problem"), [
        (("a.net",), "takes two networks, A and B, not 1"),
        (("a.net", "none.net"), "there is no such file"),
        (("a.net", "odd.txt"), "neither a NetX file"),
        (("a.net", "nothing"), "neither a folder with a model.yaml nor one of the bundled"),
    ])
    def test_what_is_no_network_is_refused(
        self, names: tuple[str, ...], problem: str, net: Path, spikefit: Any, capsys: Any
    ) -> None:
        net.with_name("odd.txt").touch()
        paths = [net.with_name(name) if "." in name else name for name in names]
        assert spikefit("compare", *paths) == 2
        assert problem in capsys.readouterr().err

    def test_a_bad_shape_is_refused(self, net: Path, spikefit: Any, capsys: Any) -> None:
        assert spikefit("inspect", net, "--input-shape", "2,x") == 2
        assert "'2,x' is not of the form" in capsys.readouterr().err

    @pytest.mark.slow
    def test_a_deployed_file_equals_itself_in_lava_and_parts_from_the_dense_module(
        self, model: Path, tmp_path: Path, deploy: Any, edit_yaml: Any, spikefit: Any, capsys: Any
    ) -> None:
        edit_yaml(model / "recipe.yaml", compress={"sparsity": 0.5, "bits": 4})
        assert deploy(model, tmp_path / "out") == 0
        assert spikefit("compare", tmp_path / "out" / "network.net",
                        tmp_path / "out" / "network.net", "--lava", "--steps", 30) == 0
        assert "no spike differs" in capsys.readouterr().out
        assert spikefit("compare", model, tmp_path / "out" / "network.net") == 2
        assert "weights differ" in capsys.readouterr().out
