"""Recordings and images on the user's disk are read as they lie there; missing ones say so."""

from __future__ import annotations

import hashlib
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.on_disk import chosen, parted
from models.data.recordings import CIFAR10_CLASSES, binned
from models.data.source import ON_DISK, DataSource, check_source
from models.data.splits import SPLITS, load_split
from pipeline.errors import DataError, MissingExtraError

# ---------------------------------------------------------------- splits


def test_splits_of_a_set_are_disjoint_and_complete() -> None:
    train = [(f"train {i}", i % 3) for i in range(200)]
    test = [(f"test {i}", i % 3) for i in range(30)]
    found = {split: chosen(train, test, split, None, "there") for split in SPLITS}
    assert {split: len(items) for split, items in found.items()} == {
        "train": 160, "calibration": 20, "validation": 20, "test": 30}
    assert sorted(item for items in found.values() for item in items) == sorted(train + test)
    assert found["test"] != test and chosen(train, test, "test", 5, "") == found["test"][:5]


def test_a_set_without_a_test_part_gives_a_tenth_of_every_class() -> None:
    items = [(str(i), i // 50) for i in range(150)]
    train, test = parted(items)
    assert sorted(train + test) == sorted(items)
    assert np.bincount([label for _, label in test]).tolist() == [5, 5, 5]


def test_more_samples_than_there_are_names_the_folder() -> None:
    with pytest.raises(DataError, match="test: 3 samples asked for, 'there' holds 2 of this split"):
        chosen([], [("a", 0), ("b", 1)], "test", 3, "'there'")


@pytest.mark.parametrize("kind", ON_DISK)
def test_a_set_that_is_not_there_says_where_to_get_it(kind: Any, tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(DataError) as caught:
            check_source(DataSource(kind=kind, root=root))
        message = str(caught.value)
        assert f"below '{root}'" in message and "get " in message and "as 'root'" in message


# ---------------------------------------------------------------- events


def test_bins_are_equal_parts_of_a_recording() -> None:
    events = {"t": np.array([1000, 1499, 1500, 1999]), "x": np.array([0, 1, 2, 127]),
              "y": np.array([5, 6, 7, 0]), "p": np.array([0, 1, 1, 0])}
    spikes = binned(events, 2)
    assert np.argwhere(spikes).tolist() == [
        [0, 0, 127, 1], [0, 5, 0, 0], [1, 6, 1, 0], [1, 7, 2, 1]]
    assert not binned({name: values[:0] for name, values in events.items()}, 3).any()


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    """Return a root with 20 training and 4 test recordings, as tonic unpacks them."""
    rng = np.random.default_rng(0)
    for part, n in (("Train", 20), ("Test", 4)):
        for i in range(n):
            folder = tmp_path / "DVSGesture" / f"ibmGesture{part}" / f"user{i:02}_lab"
            folder.mkdir(parents=True)
            rows = np.column_stack([
                rng.integers(0, 128, (50, 2)), rng.integers(0, 2, 50),
                np.sort(rng.integers(0, 6000, 50))])
            np.save(folder / f"{i % 11}.npy", rows)
    return tmp_path


def test_gestures_come_as_binary_spikes_with_the_label_of_their_file(gestures: Path) -> None:
    source = DataSource(kind="dvs-gesture", root=gestures)
    check_source(source)
    data = load_split(source, "test", 10, None)
    assert data.spikes.shape == (4, 2, 128, 128, 10) and data.spikes.dtype == np.uint8
    assert sorted(data.labels) == [0, 1, 2, 3] and (data.spikes.sum(axis=(1, 2, 3, 4)) > 30).all()
    assert "DVS128-Gesture" in data.origin and "test split" in data.origin
    assert len(load_split(source, "calibration", 4, None).labels) == 2


@pytest.mark.parametrize("damage", ["text", "flat", "outside"])
def test_a_damaged_gesture_names_its_file(gestures: Path, damage: str) -> None:
    path = next((gestures / "DVSGesture" / "ibmGestureTest").glob("*/2.npy"))
    if damage == "text":
        path.write_text("x,y,p,t")
    else:
        np.save(path, np.arange(4) if damage == "flat" else np.array([[128, 0, 0, 0]]))
    with pytest.raises(DataError, match=r"2\.npy: "):
        load_split(DataSource(kind="dvs-gesture", root=gestures), "test", 10, None)


@pytest.fixture
def cifar_dvs(tmp_path: Path) -> Path:
    for name in CIFAR10_CLASSES:
        folder = tmp_path / "CIFAR10DVS" / "CIFAR10DVS" / name
        folder.mkdir(parents=True)
        for i in range(10):
            (folder / f"cifar10_{name}_{i}.aedat4").touch()
    return tmp_path


def test_cifar10_dvs_is_read_through_tonic(cifar_dvs: Path, monkeypatch: Any) -> None:
    def read(path: str) -> Any:
        x = CIFAR10_CLASSES.index(Path(path).parent.name)
        return np.array([(7, x, 3, True), (8, x, 4, False)],
                        dtype=[("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", bool)])

    package, module = types.ModuleType("tonic"), types.ModuleType("tonic.io")
    vars(module)["read_aedat4"] = read
    monkeypatch.setitem(sys.modules, "tonic", package)
    monkeypatch.setitem(sys.modules, "tonic.io", module)
    data = load_split(DataSource(kind="cifar10-dvs", root=cifar_dvs), "test", 2, None)
    assert sorted(data.labels) == list(range(10))
    for spikes, label in zip(data.spikes, data.labels, strict=True):
        assert np.argwhere(spikes).tolist() == [[0, 4, label, 1], [1, 3, label, 0]]


def test_cifar10_dvs_without_tonic_says_what_to_install(cifar_dvs: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.io", None)
    with pytest.raises(MissingExtraError, match="needs tonic: pip install"):
        load_split(DataSource(kind="cifar10-dvs", root=cifar_dvs), "test", 2, None)


# ---------------------------------------------------------------- images


@pytest.fixture
def cifar100(tmp_path: Path, monkeypatch: Any) -> Path:
    """Return a root with the files of CIFAR-100, of a few images, and let torchvision know them."""
    from torchvision.datasets import CIFAR100

    folder, rng = tmp_path / "cifar-100-python", np.random.default_rng(0)
    folder.mkdir()
    for name, n in (("train", 40), ("test", 6)):
        images = rng.integers(0, 256, (n, 3072)).astype(np.uint8)
        images[0] = 255
        (folder / name).write_bytes(pickle.dumps(
            {"data": images, "fine_labels": list(range(n))}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))
    known = {name: hashlib.md5((folder / name).read_bytes()).hexdigest()
             for name in ("train", "test", "meta")}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", known["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", known["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {
        "filename": "meta", "key": "fine_label_names", "md5": known["meta"]})
    return tmp_path


def test_images_are_shown_for_some_steps_as_whole_numbers(cifar100: Path) -> None:
    source = DataSource(kind="cifar100", root=cifar100, n_frame_steps=4, frame_scale=16)
    data = load_split(source, "test", 9, None)
    assert data.spikes.shape == (6, 3, 32, 32, 9) and data.spikes.dtype == np.int32
    assert sorted(data.labels) == list(range(6)) and "CIFAR-100" in data.origin
    assert not data.spikes[..., 4:].any()
    assert (data.spikes[..., :4] == data.spikes[..., :1]).all()
    white = data.spikes[list(data.labels).index(0), :, 0, 0, 0]
    assert white.tolist() == [
        round((1 - mean) / deviation * 16) for mean, deviation in (
            (0.5071, 0.2673), (0.4865, 0.2564), (0.4409, 0.2762))]
    all_steps = load_split(DataSource(kind="cifar100", root=cifar100), "calibration", 5, 2)
    assert all_steps.spikes[..., -1].any()


def test_more_steps_of_a_frame_than_there_are_is_refused(cifar100: Path) -> None:
    source = DataSource(kind="cifar100", root=cifar100, n_frame_steps=10)
    with pytest.raises(DataError, match="n_frame_steps: 10 is more than n_steps: 9"):
        load_split(source, "test", 9, None)


def test_damaged_images_are_told(cifar100: Path) -> None:
    (cifar100 / "cifar-100-python" / "test").write_bytes(b"damaged")
    with pytest.raises(DataError, match="is not as published"):
        load_split(DataSource(kind="cifar100", root=cifar100), "test", 9, None)


def test_imagenet_is_read_from_a_folder_per_class(tmp_path: Path) -> None:
    from PIL import Image

    for name, color in (("n01440764", (255, 0, 0)), ("n01443537", (0, 0, 255))):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.new("RGB", (300, 260), color).save(tmp_path / "val" / name / "one.png")
    source = DataSource(kind="imagenet", root=tmp_path, n_frame_steps=1)
    check_source(source)
    data = load_split(source, "test", 2, None)
    assert data.spikes.shape == (2, 3, 224, 224, 2)
    red = data.spikes[list(data.labels).index(0), :, 100, 100, 0]
    assert red.tolist() == [round((1 - 0.485) / 0.229 * 16), round(-0.456 / 0.224 * 16),
                            round(-0.406 / 0.225 * 16)]
    with pytest.raises(DataError, match="which split 'calibration' needs"):
        load_split(source, "calibration", 2, 1)
    (tmp_path / "val" / "n01440764" / "one.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"one\.png: not a readable image"):
        load_split(source, "test", 2, None)
