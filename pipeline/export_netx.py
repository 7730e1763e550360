"""NetX HDF5: written by us, read back and compared; the format is lava-dl 0.6.0's.

In: an integer network that is a chain. Out: a ``.net`` file that the stock
``lava.lib.dl.netx.hdf5.Network`` loads. SLAYER's own exporter is not used: it needs a forward pass,
alters the module, and can write what NetX silently ruins. Keys per layer are listed in
``netx_exports/README.md``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.errors import ExportError, OutputError
from pipeline.fixedpoint import MIXED_WEIGHT_RANGE, inferred_weight_bits
from pipeline.network import INPUT, Layer, Network, Shape
from pipeline.neuron import FAMILY, CubaNeuron


def write_netx(network: Network, path: Path, origin: str) -> None:
    """Write ``network`` to ``path`` whole or not at all, and verify it by reading it back.

    Parameters
    ----------
    origin : one line stored as a file attribute: what made the file

    Raises
    ------
    ExportError
        If the network is not a chain, a layer has one threshold per channel, a weight is outside
        the chip's range, or the file does not read back as written.
    OutputError
        If the file cannot be written.
    """
    _check_exportable(network)
    partial = path.with_suffix(".tmp")
    try:
        with h5py.File(partial, "w") as file:
            file.attrs["origin"] = origin
            for index, entry in enumerate(_entries(network)):
                group = file.create_group(f"layer/{index}")
                for key, value in entry.items():
                    group.create_dataset(key, data=value)
        compare_netx(network, partial)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from None
    finally:
        if partial.is_file():
            partial.unlink()


def compare_netx(network: Network, path: Path) -> None:
    """Raise ExportError unless the file at ``path`` holds exactly ``network``."""
    _check_exportable(network)
    expected = _entries(network)
    with h5py.File(path, "r") as file:
        if len(file["layer"]) != len(expected):
            raise ExportError(
                f"{path}: holds {len(file['layer'])} entries, {len(expected)} were written"
            )
        for index, entry in enumerate(expected):
            group = file[f"layer/{index}"]
            found = _datasets(group)
            if found != set(entry):
                raise ExportError(
                    f"{path}: layer/{index} holds the keys {', '.join(sorted(found))}; written "
                    f"were {', '.join(sorted(entry))}"
                )
            for key, value in entry.items():
                if not np.array_equal(_plain(group[key][()]), _plain(value)):
                    raise ExportError(f"{path}: layer/{index}/{key} does not read back as written")


def _datasets(group: h5py.Group) -> set[str]:
    """Return the path of every dataset below a group."""
    names: list[str] = []
    group.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return set(names)


def _entries(network: Network) -> list[dict[str, Any]]:
    """Return the keys and values of every HDF5 layer group, in order."""
    entries: list[dict[str, Any]] = [
        {"type": _type("input"), "shape": np.array(network.input_shape)}
    ]
    shape: Shape = network.input_shape
    for index, layer in enumerate(network.layers):
        if index > 0 and len(shape) == 3 and layer.synapses[0].kind == "dense":
            entries.append({"type": _type("flatten"), "shape": np.array([np.prod(shape), 1, 1])})
        entries.append(_dense(layer) if layer.synapses[0].kind == "dense" else _conv(layer))
        shape = layer.shape
    return entries


def _dense(layer: Layer) -> dict[str, Any]:
    weight = layer.synapses[0].weight
    delay = {} if layer.axonal_delay is None else {
        "delay": np.array(layer.axonal_delay, dtype=np.float32)}
    recurrent = {} if layer.recurrent is None else {
        "weight_rec": layer.recurrent.weight.astype(np.float32)}
    return {
        "type": _type("dense" if layer.recurrent is None else "dense_rec"),
        "shape": np.array(layer.shape),
        "inFeatures": weight.shape[1],
        "outFeatures": weight.shape[0],
        "weight": weight.astype(np.float32),  # as SLAYER writes integers
        **recurrent,
        **delay,
        **_neuron(layer),
    }


def _conv(layer: Layer) -> dict[str, Any]:
    (synapse,) = layer.synapses
    geometry = synapse.geometry
    assert geometry is not None
    return {
        "type": _type("conv"),
        "shape": np.array(layer.shape),
        "inChannels": synapse.weight.shape[1] * geometry.groups,
        "outChannels": synapse.weight.shape[0],
        "kernelSize": np.array(synapse.weight.shape[2:]),
        "stride": np.array(geometry.stride),
        "padding": np.array(geometry.padding),
        "dilation": np.array(geometry.dilation),
        "groups": geometry.groups,
        "weight": synapse.weight.astype(np.float32),
        **_neuron(layer),
    }


def _neuron(layer: Layer) -> dict[str, Any]:
    neuron = layer.cuba
    bias = {} if neuron.bias is None else {"bias": np.array(neuron.bias, dtype=np.float32)}
    return {
        **bias,
        "neuron/type": "CUBA",
        "neuron/iDecay": neuron.current_decay,
        "neuron/vDecay": neuron.voltage_decay,
        "neuron/vThMant": neuron.vth_mant,
        "neuron/refDelay": 1,
        "neuron/gradedSpike": False,
    }


def _type(name: str) -> Any:
    return np.array([name.encode("ascii")], dtype="S10")


def _plain(value: Any) -> Any:
    return value.decode("ascii") if isinstance(value, bytes) else value


def netx_obstacle(network: Network) -> str | None:
    """Return why stock NetX cannot hold a network or would run it otherwise; None if it can.

    What NetX does is in lava.lib.dl.netx.hdf5 of lava-dl 0.6.0 (facts: netx 2 and 3.2).
    """
    previous = INPUT
    for layer in network.layers:
        where, delay, neuron = f"layer '{layer.name}': ", layer.axonal_delay, layer.neuron
        if not isinstance(neuron, CubaNeuron):
            return f"{where}export of {FAMILY[type(neuron)]} neurons is not supported yet"
        if [synapse.source for synapse in layer.synapses] != [previous]:
            return (f"{where}NetX files hold chains only; this layer has {len(layer.synapses)} "
                    f"synapse groups, from {', '.join(s.source for s in layer.synapses)}")
        if delay is not None and layer.synapses[0].kind == "conv":
            return f"{where}NetX drops the delays of convolutions without a word"
        if delay is not None and layer.recurrent is not None:
            return f"{where}NetX cannot build a recurrent layer with delays"
        if delay is not None and neuron.bias is not None:
            return f"{where}NetX delays the input in place of the spikes, which differs with a bias"
        if neuron.channel_current_decay is not None or neuron.channel_voltage_decay is not None:
            return f"{where}has one decay per channel, Lava's LIF process holds one per layer"
        if neuron.channel_vth_mant is not None:
            return (
                f"{where}has one threshold per channel ({layer.n_channels} of them) and stock NetX "
                "reads one vThMant per layer; they would need a loader that gives Lava's LIF "
                "process an array of thresholds: set 'compress.match_rates: layer' in the recipe")
        previous = layer.name
    return None


def _check_exportable(network: Network) -> None:
    obstacle = netx_obstacle(network)
    if obstacle is not None:
        raise ExportError(obstacle)
    low, high = MIXED_WEIGHT_RANGE
    for layer in network.layers:
        weight = np.concatenate([group.weight.ravel() for group in layer.groups])
        in_range = network.is_integer and weight.min() >= low and weight.max() <= high
        if not in_range or (weight & 1).any():
            raise ExportError(
                f"layer '{layer.name}': weights must be even integers in {low}..{high}, found "
                f"{weight.min()}..{weight.max()}; quantize the network first"
            )
        if layer.synapses[0].kind == "dense" and weight.min() == low and weight.max() <= 0:
            raise ExportError(
                f"layer '{layer.name}': its weights {low}..{weight.max()} have one sign, for which "
                "Lava clips at -255; scale weights and threshold down together"
            )
        if not weight.any():
            raise ExportError(
                f"layer '{layer.name}': all weights are zero, which NetX cannot load; lower the "
                "sparsity or raise the bits"
            )
        found, declared = inferred_weight_bits(weight), layer.synapses[0].weight_bits
        # with recurrent weights NetX looks for bits that both can share
        if layer.recurrent is None and found != declared:
            raise ExportError(
                f"layer '{layer.name}': NetX would infer {found} weight bits, declared are "
                f"{declared}"
            )
