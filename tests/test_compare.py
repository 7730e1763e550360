"""Traces are compared spike by spike: where and when they part first."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.compare import compare_traces, require_equal
from pipeline.emulate import Trace, emulate
from pipeline.errors import EquivalenceError
from pipeline.network import Network

# ---------------------------------------------------------------- where two traces part


def altered(trace: Trace, *places: tuple[str, int, int, int]) -> Trace:
    """Return the trace with spikes flipped at (layer, sample, step, neuron)."""
    spikes = {name: array.copy() for name, array in trace.spikes.items()}
    for layer, sample, step, neuron in places:
        flat = spikes[layer].reshape(len(spikes[layer]), -1, spikes[layer].shape[-1])
        flat[sample, neuron, step] ^= 1
    return Trace(spikes, trace.n_active)


@pytest.fixture(scope="module")
def traced(conv_chain: Any, random_spikes: Any) -> tuple[Network, Trace]:
    network = conv_chain()
    return network, emulate(network, random_spikes(network, 5))


def test_equal_traces_have_no_difference(traced: tuple[Network, Trace]) -> None:
    network, trace = traced
    comparison = compare_traces(network, trace, "a", altered(trace), "b")
    require_equal(comparison)
    assert comparison.n_differing == 0 and comparison.n_samples == 5
    assert (comparison.first_backend, comparison.second_backend) == ("a", "b")
    for layer in comparison.layers:
        assert layer.first is None
        assert layer.n_spikes == int(trace.spikes[layer.layer].sum()) > 0


def test_first_difference_is_the_earliest_step_over_all_samples(
    traced: tuple[Network, Trace],
) -> None:
    network, trace = traced
    other = altered(trace, ("conv", 0, 9, 1), ("conv", 3, 4, 60), ("conv", 4, 5, 0))
    conv, fc = compare_traces(network, trace, "a", other, "b").layers
    assert (conv.layer, conv.n_differing, conv.first) == ("conv", 3, (3, 4, 60))
    assert (fc.n_differing, fc.first) == (0, None)


def test_first_difference_of_one_step_is_the_lowest_sample_then_neuron(
    traced: tuple[Network, Trace],
) -> None:
    network, trace = traced
    other = altered(trace, ("fc", 2, 7, 4), ("fc", 1, 7, 3), ("fc", 1, 7, 1))
    assert compare_traces(network, trace, "a", other, "b").layers[1].first == (1, 7, 1)


def test_unequal_traces_are_refused_with_layer_sample_step_and_neuron(
    traced: tuple[Network, Trace],
) -> None:
    network, trace = traced
    other = altered(trace, ("fc", 0, 2, 0), ("conv", 3, 11, 17), ("conv", 4, 12, 0))
    with pytest.raises(EquivalenceError) as error:
        require_equal(compare_traces(network, trace, "emulator", other, "Lava"))
    message = str(error.value)
    assert message.startswith("emulator and Lava part in layer 'conv'")
    assert "sample 3 at step 11, neuron 17" in message
    assert "3 differences in all layers" in message


def test_a_difference_in_the_last_layer_alone_is_refused(traced: tuple[Network, Trace]) -> None:
    network, trace = traced
    with pytest.raises(EquivalenceError, match="layer 'fc'.* sample 4 at step 19, neuron 4"):
        require_equal(
            compare_traces(network, trace, "a", altered(trace, ("fc", 4, 19, 4)), "b")
        )


def test_traces_of_other_shapes_are_refused(traced: tuple[Network, Trace]) -> None:
    network, trace = traced
    shorter = Trace({name: array[..., :-1] for name, array in trace.spikes.items()}, {})
    with pytest.raises(EquivalenceError, match="layer 'conv': a gives spikes of shape"):
        compare_traces(network, trace, "a", shorter, "b")
