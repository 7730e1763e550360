"""What a foreign NIR graph asks for and the chip has not is refused by node, type, alternative."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest
from nir_networks import Nodes, cuba, ends, impulse, read

from pipeline.errors import CheckpointError, UnsupportedLayerError
from pipeline.export_nir import DT
from pipeline.ingest.nir_graph import read_nir

LI = nir.LI(tau=np.ones(3), r=np.ones(3), v_leak=np.zeros(3))
LINEAR, SPIKING = nir.Linear(np.eye(3)), impulse((3,), 1.0)


@pytest.mark.parametrize(("nodes", "shown"), [
    (ends(3, 3, fc=LINEAR, x=LI), ("'x'", "LI ", "LIF")),
    (ends(3, 3, fc=LINEAR, x=nir.Threshold(np.ones(3))), ("'x'", "Threshold", "IF")),
    (ends(3, 3, fc=LINEAR, x=nir.I(np.ones(3))), ("'x'", "I ", "IF")),
    (ends(3, 3, x=nir.Scale(np.ones(3)), fc=LINEAR, a=SPIKING), ("'x'", "Scale", "weights")),
    (ends(3, 3, x=nir.AvgPool2d(*(np.ones(2),) * 3), a=SPIKING), ("'x'", "AvgPool2d", "SumPool2d")),
    (ends(3, 3, x=nir.Conv1d(3, np.ones((1, 1, 3)), 1, 1, 1, 1, np.ones(1)), a=SPIKING),
     ("'x'", "Conv1d", "Conv2d")),
    (ends(3, 3, fc=LINEAR, x=LINEAR, a=SPIKING), ("'x'", "behind 'fc'", "multiplied")),
    (ends((1, 4, 4), (1, 2, 2), pool=nir.SumPool2d(*(np.full(2, n) for n in (2, 2, 0))),
          x=nir.Conv2d((2, 2), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.zeros(1)),
          a=impulse((1, 2, 2), 1.0)), ("'x'", "behind 'pool'", "neurons in between")),
    (ends(3, 3, x=SPIKING), ("'x'", "IF fed by 'input'", "identity")),
    (ends(3, 3, fc=LINEAR), ("'output'", "behind 'fc'", "neurons")),
    (ends(3, 3, x=nir.Delay(np.ones(3) * DT), fc=LINEAR, a=SPIKING), ("'x'", "input", "Delay")),
    (ends(3, 3, x=nir.Affine(np.eye(3), np.ones(3)), a=cuba((3,), 2 * DT, DT, 1.0)),
     ("'x'", "bias", "v_leak")),
    (ends(3, 3, fc=LINEAR, x=cuba((3,), 0.5 * DT, DT, 1.0)), ("'x'", "tau_syn", "dt")),
    (ends(3, 3, fc=LINEAR, x=nir.IF(np.ones(3), np.ones(3), np.ones(3))), ("'x'", "v_reset")),
    (ends((1, 3, 3), (1, 3, 3), c=nir.Conv2d((3, 3), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.ones(1)),
          x=nir.IF(np.ones((1, 3, 3)), np.arange(1.0, 10).reshape(1, 3, 3))),
     ("'x'", "within a feature map", "Linear")),
    (ends((2, 2, 2), 3, x=nir.Linear(np.ones((3, 8))), a=SPIKING), ("'x'", "Flatten")),
    (ends((3, 3), 3, fc=LINEAR, a=SPIKING), ("'input'", "(3, 3)", "features")),
])
def test_what_has_no_counterpart_is_refused_by_node_type_and_alternative(
    nodes: Nodes, shown: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedLayerError) as error:
        read(tmp_path, nodes)
    assert all(part in str(error.value) for part in ("node", *shown)), str(error.value)


def test_loops_over_several_layers_are_refused(tmp_path: Path) -> None:
    nodes = ends(3, 3, fc=LINEAR, a=SPIKING, fc2=nir.Linear(np.eye(3)), b=impulse((3,), 1.0))
    names = list(nodes)
    nodes["back"] = nir.Linear(np.eye(3))
    edges = [*zip(names, names[1:], strict=False), ("b", "back"), ("back", "a")]
    with pytest.raises(UnsupportedLayerError, match="'a'.*loop over several layers"):
        read(tmp_path, nodes, edges)


@pytest.mark.parametrize(("change", "shown"), [
    (lambda nodes: nodes.update(a=impulse((4,), 1.0)), "node 'a', key 'v_threshold': 4 values"),
    (lambda nodes: nodes.update(fc=nir.Linear(np.full((3, 3), np.nan))), "node 'fc', key 'weight'"),
    (lambda nodes: nodes.update(fc=nir.Linear(np.ones((3, 7)))), "layer 'a'"),
])
def test_nodes_that_do_not_fit_are_named(
    change: Callable[[Nodes], None], shown: str, tmp_path: Path
) -> None:
    nodes = ends(3, 3, fc=LINEAR, a=SPIKING)
    change(nodes)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, nodes)
    assert shown in str(error.value)


def test_an_edge_given_twice_is_refused(tmp_path: Path) -> None:
    nodes = ends(3, 3, fc=LINEAR, a=SPIKING)
    edges = [("input", "fc"), ("fc", "a"), ("fc", "a"), ("a", "output")]
    with pytest.raises(CheckpointError, match="an edge twice"):
        read(tmp_path, nodes, edges)


def test_steps_must_be_given(tmp_path: Path) -> None:
    read(tmp_path, ends(3, 3, fc=LINEAR, a=SPIKING))
    with pytest.raises(CheckpointError, match="n_steps"):
        read_nir(tmp_path / "foreign.nir")
