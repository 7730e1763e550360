"""Own spikes come back as they are; bad sources say what is wrong."""

from __future__ import annotations

import gc
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.source import DataSource, check_source
from models.data.splits import load_split
from pipeline.errors import DataError, MissingExtraError

# ---------------------------------------------------------------- a user's own archive


def archive(tmp_path: Path, **arrays: Any) -> DataSource:
    file = tmp_path / "own.npz"
    np.savez(file, **arrays)
    return DataSource(kind="npz", file=file)


def good(n: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "test_spikes": (rng.random((n, 3, 7)) < 0.5).astype(np.uint8),
        "test_labels": np.arange(n),
    }


def test_complete_source_passes_the_check_before_any_work(tmp_path: Path) -> None:
    check_source(DataSource())
    check_source(archive(tmp_path, **good()))


def test_missing_archive_fails_the_check_before_any_work(tmp_path: Path) -> None:
    for source in (DataSource(kind="npz"), DataSource(kind="npz", file=tmp_path / "none.npz")):
        with pytest.raises(DataError, match=f"'{source.file}', which does not exist"):
            check_source(source)


def test_own_spikes_come_back_as_they_are(tmp_path: Path) -> None:
    arrays = good()
    data = load_split(archive(tmp_path, **arrays), "test", 7, None)
    assert np.array_equal(data.spikes, arrays["test_spikes"])
    assert np.array_equal(data.labels, arrays["test_labels"])
    assert data.labels.dtype == np.int64 and data.origin == "own.npz, test split"
    two = load_split(archive(tmp_path, **arrays), "test", 7, 2)
    assert np.array_equal(two.spikes, arrays["test_spikes"][:2]) and len(two.labels) == 2


@pytest.mark.parametrize("dtype", [bool, np.float32, np.int64])
def test_own_spikes_of_any_type_become_bytes(dtype: Any, tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(dtype)
    assert load_split(archive(tmp_path, **arrays), "test", 7, None).spikes.dtype == np.uint8


def refused(source: DataSource, split: str = "test", n: int | None = None) -> str:
    with pytest.raises(DataError) as error:
        load_split(source, split, 7, n)
    return str(error.value)


def test_archive_without_a_path_is_refused() -> None:
    assert "needs the key 'file'" in refused(DataSource(kind="npz"))


def test_missing_archive_is_refused(tmp_path: Path) -> None:
    message = refused(DataSource(kind="npz", file=tmp_path / "none.npz"))
    assert "none.npz" in message


@pytest.mark.parametrize("content", ["text", "empty", "truncated", "array"])
def test_file_that_is_no_archive_is_refused(content: str, tmp_path: Path) -> None:
    file = archive(tmp_path, **good()).file
    assert file is not None
    if content == "text":
        file.write_text("t,x,y,p\n1,2,3,1\n")
    elif content == "empty":
        file.write_bytes(b"")
    elif content == "truncated":
        file.write_bytes(file.read_bytes()[:200])
    else:
        with file.open("wb") as stream:
            np.save(stream, good()["test_spikes"])
    try:
        assert "own.npz" in refused(DataSource(kind="npz", file=file))
    finally:
        gc.collect()  # a file left open must warn here and not in some later test


def test_archive_without_the_split_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    message = refused(archive(tmp_path, **good()), split="validation")
    assert "own.npz" in message and "'validation_spikes'" in message


def test_archive_with_too_few_samples_is_refused(tmp_path: Path) -> None:
    assert "holds 4 spike trains" in refused(archive(tmp_path, **good()), n=5)


def test_archive_without_samples_is_refused(tmp_path: Path) -> None:
    assert "0 spike trains" in refused(archive(tmp_path, **good(0)))


def test_numbers_of_spikes_and_labels_that_differ_are_refused(tmp_path: Path) -> None:
    arrays = good()
    arrays["test_labels"] = np.arange(3)
    assert "own.npz: split 'test' holds 4 spike trains" in refused(archive(tmp_path, **arrays))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1 << 23, -1e30])
def test_input_that_is_no_message_is_refused(value: float, tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(np.float64)
    arrays["test_spikes"][1, 2, 3] = value
    assert "whole numbers up to 8388607" in refused(archive(tmp_path, **arrays))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.float32])
def test_graded_input_is_taken_as_integers(kind: Any, tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(kind)
    arrays["test_spikes"][1, 2, 3] = -100
    data = load_split(archive(tmp_path, **arrays), "test", arrays["test_spikes"].shape[-1], None)
    assert data.spikes.dtype == np.int32
    assert np.array_equal(data.spikes, arrays["test_spikes"])


def test_text_is_refused(tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = arrays["test_spikes"].astype(str)
    assert "of type <U" in refused(archive(tmp_path, **arrays))


def test_pickled_objects_in_an_archive_are_refused(tmp_path: Path) -> None:
    arrays = good()
    arrays["test_spikes"] = np.array([{"a": 1}] * 4, dtype=object)
    assert "own.npz" in refused(archive(tmp_path, **arrays))


@pytest.mark.parametrize("labels", [np.eye(4), np.arange(4)[:, None]], ids=["one-hot", "column"])
def test_labels_that_are_not_one_number_per_sample_are_refused(
    labels: Any, tmp_path: Path
) -> None:
    arrays = good()
    arrays["test_labels"] = labels
    assert "labels" in refused(archive(tmp_path, **arrays))


# ---------------------------------------------------------------- recorded N-MNIST


def test_missing_recordings_are_an_error_that_names_the_folder(tmp_path: Path) -> None:
    message = refused(DataSource(kind="nmnist", root=tmp_path / "events"))
    assert f"'{tmp_path / 'events'}'" in message and "garrickorchard.com" in message


def test_recordings_without_a_folder_are_refused() -> None:
    assert "no N-MNIST recordings below 'None'" in refused(DataSource(kind="nmnist"))


def test_folder_with_train_alone_has_no_test_split(tmp_path: Path) -> None:
    (tmp_path / "NMNIST" / "Train").mkdir(parents=True)
    assert "no N-MNIST recordings" in refused(DataSource(kind="nmnist", root=tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tonic") is not None, reason="tonic is installed")
def test_recordings_without_tonic_say_how_to_install_it(tmp_path: Path) -> None:
    for folder in ("Train", "Test"):
        (tmp_path / "NMNIST" / folder).mkdir(parents=True)
    with pytest.raises(MissingExtraError, match=r"pip install 'spikefit\[nmnist\]'"):
        load_split(DataSource(kind="nmnist", root=tmp_path), "train", 60, 2)
