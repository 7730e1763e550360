"""What SLAYER exports and we read spikes as SLAYER's own forward does, step for step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from pipeline.emulate import emulate
from pipeline.ingest.netx import read_netx
from pipeline.ingest.slayer_blocks import cuba, rf, rf_iz, sigma_delta
from pipeline.ingest.slayer_graded import data_of, trace_of
from pipeline.ingest.slayer_norm import slayer_norm
from pipeline.ingest.slayer_write_back import forget

N_STEPS = 40
P = {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.1}
STRONG = {"weight_scale": 3}
RESONATOR = {"threshold": 0.5, "period": 7, "decay": 0.1}
STRONGER = {"weight_scale": 6}
GEOMETRY = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
            "weight_norm_enabled")


def with_norm() -> dict[str, Any]:
    return {**P, "norm": slayer_norm.MeanOnlyBatchNorm}


NETWORKS: dict[str, Any] = {  # input shape, blocks
    "delays": ((12,), lambda: [
        cuba.Dense(P, 12, 20, delay=True, **STRONG), cuba.Dense(P, 20, 20, delay=True, **STRONG),
        cuba.Dense(P, 20, 6, weight_norm=True, **STRONG)]),
    "pooling of odd sizes": ((2, 9, 8), lambda: [
        cuba.Conv(P, 2, 4, 3, delay=True, **STRONG), cuba.Pool(dict(P), 2, weight_scale=2),
        cuba.Flatten(), cuba.Dense(P, 48, 5, **STRONG)]),
    "geometry": ((2, 9, 8), lambda: [
        cuba.Conv(P, 2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2,
                  **STRONG), cuba.Flatten(), cuba.Dense(P, 120, 5, **STRONG)]),
    "bias": ((12,), lambda: [
        cuba.Dense(with_norm(), 12, 20, **STRONG), cuba.Dense(with_norm(), 20, 6, **STRONG)]),
    "bias of a convolution": ((2, 5, 4), lambda: [cuba.Conv(with_norm(), 2, 4, 3, **STRONG)]),
    "recurrent": ((12,), lambda: [
        cuba.Recurrent(dict(P), 12, 20, **STRONG), cuba.Dense(P, 20, 6, **STRONG)]),
    "decays of channels": ((12,), lambda: [
        cuba.Dense({**P, "shared_param": False}, 12, 20, **STRONG), cuba.Dense(P, 20, 6)]),
    "affine": ((12,), lambda: [
        cuba.Dense(P, 12, 20, **STRONG), cuba.Affine(dict(P), 20, 6, **STRONG)]),
    "affine without dynamics": ((12,), lambda: [
        cuba.Dense(P, 12, 20, **STRONG), cuba.Affine(dict(P), 20, 6, dynamics=False, **STRONG)]),
    "resonators": ((12,), lambda: [
        rf.Dense(RESONATOR, 12, 20, delay=True, **STRONGER),
        rf_iz.Dense({**RESONATOR, "shared_param": False}, 20, 20, **STRONGER),
        rf.Dense(RESONATOR, 20, 6, **STRONGER)]),
    "resonators in space": ((2, 9, 8), lambda: [
        rf_iz.Conv(RESONATOR, 2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2, **STRONGER),
        rf.Pool({**RESONATOR, "threshold": 0.2}, 2, weight_scale=2), rf.Flatten(),
        rf.Dense(RESONATOR, 48, 6, **STRONGER)]),
    "resonators after others": ((12,), lambda: [
        cuba.Dense(P, 12, 20, **STRONG), rf_iz.Dense(RESONATOR, 20, 20, **STRONGER),
        cuba.Dense(P, 20, 6, **STRONG)]),
}


def give_delays_and_biases(blocks: torch.nn.ModuleList) -> None:
    for block in blocks:
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data = 9 * torch.rand_like(block.delay.delay)
        norm = getattr(getattr(block, "neuron", None), "norm", None)
        if norm is not None:
            norm.running_mean = 0.6 * torch.rand_like(norm.running_mean) - 0.3
            norm.update = False


def with_relu(**keys: Any) -> dict[str, Any]:
    return {"threshold": 0.125, "activation": torch.nn.functional.relu, **keys}


MESSAGES: dict[str, Any] = {
    "dense": ((12,), lambda: [
        sigma_delta.Input(with_relu()), sigma_delta.Dense(with_relu(), 12, 20, **STRONG),
        sigma_delta.Output(with_relu(), 20, 6, **STRONG)]),
    "bias": ((12,), lambda: [
        sigma_delta.Input(with_relu()),
        sigma_delta.Dense(with_relu(norm=slayer_norm.MeanOnlyBatchNorm), 12, 20, **STRONG),
        sigma_delta.Dense(with_relu(norm=slayer_norm.MeanOnlyBatchNorm), 20, 6, **STRONG)]),
    "in space": ((2, 9, 8), lambda: [
        sigma_delta.Input(with_relu()),
        sigma_delta.Conv(with_relu(), 2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2,
                         **STRONG),
        sigma_delta.Pool(with_relu(), 2), sigma_delta.Flatten(),
        sigma_delta.Dense(with_relu(), 48, 6, **STRONG)]),
}


def exported(blocks: torch.nn.ModuleList, path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for index, block in enumerate(blocks):
            if isinstance(block, (rf.Conv, rf_iz.Conv, rf.Pool)):
                # without these SLAYER's own export fails for complex weights
                for name in GEOMETRY:
                    setattr(block.synapse, name, getattr(block.synapse.real, name))
            block.export_hdf5(file.create_group(f"layer/{index}"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("input_shape", "build"), MESSAGES.values(), ids=MESSAGES)
def test_exported_network_sends_the_messages_of_the_module(
    input_shape: tuple[int, ...], build: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(build()).eval()
    shape = (2, *input_shape, N_STEPS)
    walk = 2 * np.cumsum(np.random.default_rng(0).integers(-6, 7, shape), axis=-1)
    data = np.clip(walk, -256, 254).astype(np.int32)
    outputs = []
    with torch.no_grad():
        torch.nn.Sequential(*blocks)(torch.zeros(1, *input_shape, 2))  # fixes shapes
        give_delays_and_biases(blocks)
        forget(blocks)
        network, _ = read_netx(exported(blocks, tmp_path / "a.net"), N_STEPS, input_shape)
        signal = torch.from_numpy(data_of(network, data))
        for block in blocks:
            signal = block(signal)
            outputs.append(signal.numpy())
    trace = emulate(network, data)
    for layer in network.layers:
        output = outputs[int(layer.name[-1])].reshape(2, *layer.shape, N_STEPS)
        expected = trace_of(network, layer, output)
        assert expected.any() and np.array_equal(trace.spikes[layer.name], expected), layer.name


@pytest.mark.slow
@pytest.mark.parametrize(("input_shape", "build"), NETWORKS.values(), ids=NETWORKS)
def test_exported_network_spikes_as_the_module(
    input_shape: tuple[int, ...], build: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(build()).eval()
    spikes = (torch.rand((2, *input_shape, N_STEPS)) < 0.3).float()
    outputs = []
    with torch.no_grad():
        torch.nn.Sequential(*blocks)(spikes)  # fixes shapes
        give_delays_and_biases(blocks)
        forget(blocks)
        signal = spikes
        for block in blocks:
            signal = block(signal)
            outputs.append(signal.numpy())
    network, _ = read_netx(exported(blocks, tmp_path / "a.net"), N_STEPS, input_shape)
    trace = emulate(network, spikes.numpy().astype(np.uint8), with_states=True)
    for layer in network.layers:
        expected = outputs[int(layer.name[-1])].reshape(2, *layer.shape, N_STEPS)
        is_voltage = layer is network.layers[-1] and network.readout.quantity == "voltage"
        found = trace.v[layer.name] / 4096 if is_voltage else trace.spikes[layer.name]
        assert expected.any() and np.array_equal(found, expected), layer.name
