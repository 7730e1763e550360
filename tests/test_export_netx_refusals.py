"""What NetX would ruin is refused; a write that fails leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ExportError, OutputError
from pipeline.export_netx import compare_netx, write_netx
from pipeline.network import INPUT, Layer, Network, Synapse


def with_weight(network: Network, index: int, weight: NDArray[Any], bits: int | None) -> Network:
    layer = network.layers[index]
    synapse = replace(layer.synapses[0], weight=weight, weight_bits=bits)
    layers = list(network.layers)
    layers[index] = replace(layer, synapses=(synapse,))
    return network.with_layers(tuple(layers))


# ---------------------------------------------------------------- refusals


def refused(network: Network, tmp_path: Path) -> str:
    """Return the message with which the network is refused, having left nothing behind."""
    with pytest.raises(ExportError) as error:
        write_netx(network, tmp_path / "network.net", "")
    assert list(tmp_path.iterdir()) == []
    return str(error.value)


def test_layer_with_two_synapse_groups_is_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    last = network.layers[1]
    skip = Synapse("fc1.skip", INPUT, np.full((10, 12), 2, dtype=np.int32), weight_bits=1)
    two = network.with_layers((network.layers[0], replace(last, synapses=(*last.synapses, skip))))
    message = refused(two, tmp_path)
    assert "layer 'fc1'" in message and "chains only" in message and "fc0, input" in message


def test_layer_that_skips_its_neighbor_is_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain(sizes=(12, 12, 5))
    branch = Layer(
        "fc1", (replace(network.layers[1].synapses[0], source=INPUT),),
        network.layers[1].neuron, (5,),
    )
    assert "chains only" in refused(network.with_layers((network.layers[0], branch)), tmp_path)


@pytest.mark.parametrize(("value", "shown"), [(3, "even integers"), (256, "256"), (-258, "-258")])
def test_weight_the_chip_cannot_hold_is_refused(
    value: int, shown: str, dense_chain: Any, tmp_path: Path
) -> None:
    network = dense_chain()
    weight = network.layers[1].synapses[0].weight.copy()
    weight[2, 3] = value
    message = refused(with_weight(network, 1, weight, 8), tmp_path)
    assert "layer 'fc1'" in message and shown in message


def test_float_weights_are_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    weight = network.layers[0].synapses[0].weight.astype(np.float64)
    assert "layer 'fc0'" in refused(with_weight(network, 0, weight, 6), tmp_path)


@pytest.mark.parametrize("bits", [None, 3])
def test_bits_other_than_netx_will_infer_are_refused(
    bits: int | None, dense_chain: Any, tmp_path: Path
) -> None:
    network = dense_chain()
    weight = network.layers[1].synapses[0].weight
    message = refused(with_weight(network, 1, weight, bits), tmp_path)
    assert "layer 'fc1'" in message and f"declared are {bits}" in message


def test_all_zero_layer_is_refused(dense_chain: Any, tmp_path: Path) -> None:
    network = dense_chain()
    nothing = np.zeros((10, 16), dtype=np.int32)
    assert "layer 'fc1'" in refused(with_weight(network, 1, nothing, 8), tmp_path)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_thresholds_per_channel_are_refused_with_the_way_out(
    kind: str, dense_chain: Any, conv_chain: Any, tmp_path: Path
) -> None:
    network: Network = dense_chain() if kind == "dense" else conv_chain()
    path = tmp_path / "network.net"
    write_netx(network, path, "")
    first = network.layers[0]
    neuron = replace(first.neuron, channel_vth_mant=(90,) * first.n_channels)
    mixed = network.with_layers((replace(first, neuron=neuron), *network.layers[1:]))
    with pytest.raises(ExportError):
        compare_netx(mixed, path)
    path.unlink()
    message = refused(mixed, tmp_path)
    for part in (f"layer '{first.name}'", "one threshold per channel", "one vThMant per layer",
                 "array of thresholds", "compress.match_rates: layer"):
        assert part in message


# ---------------------------------------------------------------- places that cannot be written


def test_missing_folder_is_an_output_error(dense_chain: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing/network.net: cannot be written"):
        write_netx(dense_chain(), tmp_path / "missing" / "network.net", "")
    assert list(tmp_path.iterdir()) == []


def test_file_in_place_of_the_folder_is_an_output_error(dense_chain: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/network.net: cannot be written"):
        write_netx(dense_chain(), tmp_path / "file" / "network.net", "")
    assert (tmp_path / "file").read_text() == "in the way"


def test_folder_in_place_of_the_file_is_an_output_error_and_leaves_nothing(
    dense_chain: Any, tmp_path: Path
) -> None:
    target = tmp_path / "network.net"
    target.mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_netx(dense_chain(), target, "")
    assert list(tmp_path.iterdir()) == [target]


def test_failed_write_leaves_the_older_file_alone(dense_chain: Any, tmp_path: Path) -> None:
    path = tmp_path / "network.net"
    write_netx(dense_chain(), path, "")
    before = path.read_bytes()
    weight = dense_chain().layers[0].synapses[0].weight + 1
    with pytest.raises(ExportError):
        write_netx(with_weight(dense_chain(), 0, weight, 8), path, "")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_weights_of_one_sign_that_lava_would_clip_are_refused(
    dense_chain: Any, tmp_path: Path
) -> None:
    network = dense_chain(sizes=(12, 4))
    (layer,) = network.layers
    weight = np.where(layer.synapses[0].weight < 0, -256, 0).astype(np.int32)
    synapse = replace(layer.synapses[0], weight=weight, weight_bits=8)
    with pytest.raises(ExportError, match="have one sign, for which Lava clips at -255"):
        write_netx(network.with_layers((replace(layer, synapses=(synapse,)),)),
                   tmp_path / "a.net", "")
