"""Modules that a Network cannot express are refused by layer and place."""

from __future__ import annotations

from typing import Any

import pytest
from slayer_modules import MakeModel

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.ingest.checkpoint import load_module

# SLAYER takes five to ten seconds to import, and is to be quiet before a user's file asks for it
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slayer")]


@pytest.mark.parametrize(("class_name", "arguments", "layer", "problem"), [
    ("Alif", {}, "blocks.0", "alif.Dense"),
    ("RecurrentNorm", {}, "blocks.0", "norm"),
    ("Option", {"delay": True}, "blocks.1", "delay that was never set"),
    ("Option", {"delay_shift": False}, "blocks.1", "delay_shift=False"),
    ("Option", {"count_log": True}, "blocks.1", "count_log=True"),
    ("Option", {"neuron_options": {"shared_param": False}}, "blocks.1", "never drawn"),
    ("Option", {"neuron_options": {"graded_spike": True}}, "blocks.1", "graded_spike=True"),
    ("Option", {"neuron_options": {"persistent_state": True}}, "blocks.1", "persistent_state"),
    ("Option", {"neuron_options": {"scale": 100}}, "blocks.1", "scale 100"),
    ("Option", {"neuron_options": {"threshold": 64.0}}, "blocks.1", "threshold mantissa 4096"),
], ids=str)
def test_unsupported_layer_is_refused_by_name(
    class_name: str, arguments: dict[str, Any], layer: str, problem: str, slayer: Any,
    make_model: MakeModel,
) -> None:
    model = make_model(class_name, **arguments)
    module = load_module(model)
    with pytest.raises(UnsupportedLayerError) as error:
        slayer.to_network(module, model)
    assert f"layer '{layer}'" in str(error.value) and problem in str(error.value)
    assert "supported" in str(error.value)


@pytest.mark.parametrize(("what", "place"), [
    ("in-place mask", "after 'a'"),
    ("sum", "after 'b'"),
    ("branches", "after 'b'"),
    ("swap", "after 'a': the module's forward applies 'flip'"),
    ("delay", "after 'a': the module's forward applies 'roll'"),
    ("dead end", "layer 'b' does not reach"),
    ("list", "after 'b'"),
    ("twice", "'a'"),
    ("feedback", "called more than once"),
    ("late join", "layer 'a': axonal delay 63"),
    ("shapes", "The size of tensor a (12) must match the size of tensor b (6)"),
    ("one for all", "after 'a': the module's forward applies 'mean'"),
])
def test_forward_that_cores_cannot_follow_is_refused_with_the_place(
    what: str, place: str, slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Between", what=what)
    module = load_module(model)
    with pytest.raises((UnsupportedLayerError, CheckpointError)) as error:
        slayer.to_network(module, model)
    assert place in str(error.value)


def test_module_without_slayer_blocks_is_refused(slayer: Any, make_model: MakeModel) -> None:
    model = make_model("PlainTorch", input_shape=(12,))
    with pytest.raises((UnsupportedLayerError, CheckpointError), match="plaintorch|forward"):
        slayer.to_network(load_module(model), model)


def test_input_shape_the_module_does_not_take_is_refused(
    slayer: Any, make_model: MakeModel
) -> None:
    model = make_model("Dense", input_shape=(13,))
    with pytest.raises(CheckpointError, match=r"forward fails on spikes of input_shape \(13,\)"):
        slayer.to_network(load_module(model), model)
