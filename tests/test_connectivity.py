"""The unrolled matrix is the synapse group: torch's products, one entry per stored synapse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.mapping.connectivity import unrolled
from pipeline.network import INPUT, ConvGeometry, Layer, Network, Synapse
from pipeline.network_checks import conv_output_shape
from pipeline.neuron import CubaNeuron

NEURON = CubaNeuron(1024, 128, 80)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


def single_layer(
    weight: NDArray[Any], geometry: ConvGeometry | None, in_shape: tuple[int, ...]
) -> tuple[Network, Synapse]:
    shape: tuple[int, ...] = (len(weight),)
    if geometry is not None:
        shape = conv_output_shape(weight.shape, geometry, in_shape)
    synapse = Synapse("a", INPUT, weight, geometry)
    return Network("one", in_shape, 5, (Layer("a", (synapse,), NEURON, shape),)), synapse


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[NDArray[np.int32], ConvGeometry, tuple[int, ...]]:
    groups = draw(st.integers(1, 3))
    geometry = ConvGeometry(
        draw(PAIR), draw(st.tuples(st.integers(0, 2), st.integers(0, 2))), draw(PAIR), groups
    )
    ky, kx = draw(PAIR)
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    # as small as the kernel allows, up to three more
    y = max(1, geometry.dilation[0] * (ky - 1) + 1 - 2 * geometry.padding[0])
    x = max(1, geometry.dilation[1] * (kx - 1) + 1 - 2 * geometry.padding[1])
    in_shape = (c_in, y + draw(st.integers(0, 3)), x + draw(st.integers(0, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = rng.integers(-256, 255, (c_out, c_in // groups, ky, kx)).astype(np.int32)
    return weight, geometry, in_shape


def torch_conv(images: NDArray[Any], weight: NDArray[Any], geometry: ConvGeometry) -> Any:
    return torch.nn.functional.conv2d(
        torch.from_numpy(images).double(), torch.from_numpy(weight).double(), None,
        geometry.stride, geometry.padding, geometry.dilation, geometry.groups,
    ).numpy()


@settings(max_examples=60)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_unrolled_convolution_equals_torch_conv2d(
    drawn: tuple[NDArray[np.int32], ConvGeometry, tuple[int, ...]], seed: int
) -> None:
    weight, geometry, in_shape = drawn
    network, synapse = single_layer(weight, geometry, in_shape)
    images = np.random.default_rng(seed).integers(-5, 6, (3, *in_shape))
    expected = torch_conv(images, weight, geometry)
    assert expected.shape[1:] == network.layers[0].shape
    found = images.reshape(3, -1) @ unrolled(network, synapse)
    assert np.array_equal(found, expected.reshape(3, -1))


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.booleans(), st.integers(0, 2**32 - 1))
def test_unrolled_dense_group_equals_matmul(
    n_out: int, n_in: int, is_float: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-256, 255, (n_out, n_in)).astype(np.float64 if is_float else np.int32)
    network, synapse = single_layer(weight, None, (n_in,))
    matrix, images = unrolled(network, synapse), rng.integers(0, 2, (4, n_in))
    assert matrix.dtype == weight.dtype
    assert np.array_equal(images @ matrix, images @ weight.T)


def test_dense_group_after_a_convolution_reads_channels_first(conv_chain: Any) -> None:
    network = conv_chain()
    synapse = network.layers[1].synapses[0]
    feature_map = np.random.default_rng(0).integers(0, 2, network.layers[0].shape)
    assert np.array_equal(
        feature_map.ravel() @ unrolled(network, synapse), synapse.weight @ feature_map.ravel()
    )


@settings(max_examples=60)
@given(convolutions())
def test_stored_zeros_of_a_convolution_are_kept(
    drawn: tuple[NDArray[np.int32], ConvGeometry, tuple[int, ...]],
) -> None:
    weight, geometry, in_shape = drawn
    network, synapse = single_layer(np.zeros_like(weight), geometry, in_shape)
    matrix = unrolled(network, synapse)
    # every position of a kernel over a real pixel is a stored synapse; padding stores none
    ones = torch_conv(np.ones((1, *in_shape)), np.ones_like(weight), geometry)
    assert matrix.nnz == int(ones.sum())
    assert matrix.shape == (int(np.prod(in_shape)), network.layers[0].n_neurons)


def test_stored_zeros_of_a_dense_group_are_kept() -> None:
    weight = np.zeros((4, 6), dtype=np.int32)
    weight[1, 2] = 4
    network, synapse = single_layer(weight, None, (6,))
    assert unrolled(network, synapse).nnz == 24


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (4, 9)])
def test_dropping_stored_zeros_of_the_matrix_leaves_the_weights_alone(
    shape: tuple[int, int], order: Any
) -> None:
    weight = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape) % 3
    network, synapse = single_layer(np.array(weight, order=order), None, (shape[1],))
    matrix = unrolled(network, synapse)
    matrix.eliminate_zeros()
    assert matrix.nnz == np.count_nonzero(weight)
    assert np.array_equal(synapse.weight, weight)
