"""Whole hidden neurons and channels pruned, so that layers, and with them cores, shrink.

A neuron of layer l is an input of the groups it feeds: what its loss costs there, after the other
inputs have adapted, is what decides (:mod:`pipeline.compress.structured`). Layers are taken from
the last to the first, each judged by the rows its consumers still have. A neuron that nobody
listens to loses its own weights as well; :mod:`pipeline.shrink` then takes it out of the network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.calibrate import Calibration
from pipeline.compress import damped
from pipeline.compress.refit import refit
from pipeline.compress.structured import input_mask
from pipeline.compress_synapse import channel_size
from pipeline.errors import CompressionError
from pipeline.network import INPUT, Layer, Network, Synapse


def silence_neurons(
    network: Network, calibration: Calibration, sparsity: float, damping_frac: float
) -> tuple[Network, dict[str, int]]:
    """Return the network without the weights of pruned neurons, and the weights left per group.

    The same share of every hidden layer stays, the largest that leaves at most ``1 - sparsity`` of
    all weights.

    Raises
    ------
    CompressionError
        If the network has no hidden layer, or a layer feeds several or a grouped convolution.
    """
    consumers = {layer.name: _consumer(network, layer) for layer in network.layers[:-1]}
    if not consumers:
        raise CompressionError(
            "compress.pattern: 'neurons' needs a hidden layer; this network has none"
        )
    left = _channels_left(network, sparsity)
    kept = {network.layers[-1].name: np.ones(network.layers[-1].shape[0], dtype=np.bool_)}
    kept[INPUT] = np.ones(network.input_shape[0], dtype=np.bool_)
    groups: dict[str, Synapse] = {}
    for layer in reversed(network.layers[:-1]):
        synapse = consumers[layer.name]
        rows = _as_matrix(synapse) * kept[network.layer_of(synapse.name).name][:, None]
        H = torch.from_numpy(
            damped(calibration.curvatures[synapse.name].hessian, damping_frac)[0])
        W = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float64))
        size = channel_size(network, synapse)
        stays = input_mask(W, H, size, left[layer.name])
        kept[layer.name] = stays.view(-1, size)[:, 0].numpy()
        allowed = _allowed(synapse, kept[network.layer_of(synapse.name).name], stays.numpy())
        weight = refit(W, H, torch.from_numpy(allowed.reshape(W.shape)))
        groups[synapse.name] = replace(
            synapse, weight=weight.numpy().reshape(synapse.weight.shape), allowed=allowed)
    for synapse in network.synapses:
        if synapse.source == INPUT:
            everything = np.ones(_as_matrix(synapse).shape[1], dtype=np.bool_)
            rows_kept = kept[network.layer_of(synapse.name).name]
            allowed = _allowed(synapse, rows_kept, everything)
            groups[synapse.name] = replace(
                synapse, weight=np.where(allowed, synapse.weight, 0.0), allowed=allowed)
    layers = tuple(
        replace(layer, synapses=tuple(groups[s.name] for s in layer.synapses))
        for layer in network.layers
    )
    return network.with_layers(layers), {n: int(s.allowed.sum()) for n, s in groups.items()
                                         if s.allowed is not None}


def _allowed(
    synapse: Synapse, rows: NDArray[np.bool_], columns: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    allowed: NDArray[np.bool_] = (rows[:, None] & columns[None, :]).reshape(synapse.weight.shape)
    return allowed if synapse.allowed is None else allowed & synapse.allowed


def _as_matrix(synapse: Synapse) -> NDArray[np.float64]:
    return synapse.weight.astype(np.float64).reshape(len(synapse.weight), -1)


def _consumer(network: Network, layer: Layer) -> Synapse:
    fed = [s for s in network.synapses if s.source == layer.name]
    if len(fed) != 1 or (fed[0].geometry is not None and fed[0].geometry.groups > 1):
        raise CompressionError(
            f"compress.pattern: 'neurons' cannot judge layer '{layer.name}': it feeds {len(fed)} "
            "synapse groups, or a grouped convolution; use 'inputs' or 'unstructured'"
        )
    return fed[0]


def _channels_left(network: Network, sparsity: float) -> dict[str, int]:
    """Return how many channels each hidden layer keeps, the same share of each."""
    n_most = round((1.0 - sparsity) * sum(s.n_weights for s in network.synapses))
    hidden = {layer.name: layer.shape[0] for layer in network.layers[:-1]}
    best = {name: 1 for name in hidden}
    for share in np.linspace(0.0, 1.0, 513)[1:]:
        trial = {name: max(1, int(share * n)) for name, n in hidden.items()}
        n_left = 0.0
        for synapse in network.synapses:
            own, source = network.layer_of(synapse.name).name, synapse.source
            n_left += synapse.n_weights * (
                trial.get(own, 1) / hidden.get(own, 1)) * (
                trial.get(source, 1) / hidden.get(source, 1))
        if round(n_left) <= n_most:
            best = trial
    return best
