"""An interrupted compression goes on with the groups it has not finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeps import RECIPE
from typing_extensions import Never

from hardware_targets import load_target
from pipeline import compressor, kept_parts
from pipeline.compress_synapse import Level
from pipeline.kept_parts import KeptParts
from pipeline.line import Line
from pipeline.model_folder import find_model
from pipeline.recipe import Recipe


@pytest.fixture(autouse=True)
def everything_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_parts, "_WORTH_S", 0.0)


def made_already() -> Never:
    raise AssertionError("it is kept")


def test_a_part_is_made_once_and_under_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "stage.parts"
    assert KeptParts(folder).get("a", lambda: 1.5) == 1.5
    assert KeptParts(folder).get("a", made_already) == 1.5
    assert KeptParts(folder).get("b", lambda: 2.5) == 2.5
    assert KeptParts().get("a", lambda: 3.5) == 3.5


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    KeptParts(tmp_path).get("a", lambda: 1.5)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:-40])
    assert KeptParts(tmp_path).get("a", lambda: 2.5) == 2.5


@pytest.mark.parametrize("sequential", [True, False])
def test_a_line_that_was_killed_makes_no_group_again(
    net_model: Path, tmp_path: Path, sequential: bool
) -> None:
    recipe = Recipe.model_validate({**RECIPE, "compress": {"sequential": sequential, "bits": 4}})
    target, said = load_target("loihi1"), list[str]()

    def line(store: str, on_progress: Any) -> Line:
        return Line(find_model(str(net_model)), recipe, target, tmp_path / "out", tmp_path / store,
                    on_progress=on_progress)

    def killed(message: str) -> None:
        if message.startswith("2 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        line("killed", killed).run("compress")
    (folder,) = (tmp_path / "killed").glob("compress-*.parts")
    (kept,) = folder.glob("*.npz")
    before = kept.stat().st_mtime_ns
    again = line("killed", said.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_parts, "save_artifact", _no_more_than(1))
        again.run("compress")
    assert not folder.exists() and before and any("2 of 2" in message for message in said)
    whole = line("whole", said.append)
    whole.run("compress")
    found, expected = again.value("compress"), whole.value("compress")
    assert list(found) == list(expected)
    for name, part in expected.items():
        np.testing.assert_array_equal(found[name].codes, part.codes)
        assert (found[name].vth_mant, found[name].step_exp) == (part.vth_mant, part.step_exp)


def _no_more_than(n: int) -> Any:
    from pipeline.artifact import save_artifact

    saved: list[Path] = []

    def save(path: Path, value: Any, meta: dict[str, Any]) -> None:
        saved.append(path)
        assert len(saved) <= n, "a group was made that was kept"
        save_artifact(path, value, meta)

    return save


@pytest.mark.parametrize(("n_kept", "minutes"), [(0, 2), (2, 5)])
def test_the_time_left_counts_what_is_kept_as_no_work(
    n_kept: int, minutes: int, tmp_path: Path, dense_chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four equal groups the third ends after 300 s; the first two took none of it if kept."""
    network, said = dense_chain(sizes=(8, 8, 8, 8, 8)), list[str]()
    names, kept = [s.name for s in network.synapses], KeptParts(tmp_path)
    for name in names[:n_kept]:
        kept.get(name, lambda: 1.5)
    clock = iter([0.0, 0.0, 0.0, 0.0, 300.0])
    monkeypatch.setattr(compressor.time, "monotonic", lambda: next(clock))
    tell = compressor._Telling(network, dict.fromkeys(names, Level(8, 4)), said.append, kept)
    for name in names:
        tell(name)
    assert said[-1].endswith(f"about {minutes} min left")
    assert kept.holds(names[0]) == bool(n_kept) and not kept.holds(names[3])
