"""The doctor finds each planted fault and nothing else; mending leaves the originals alone."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import Source, Split, open_data
from striate.data.census import row_keys
from striate.data.doctor import Examination, examine, summary
from striate.data.mend import mend
from striate.data.mosaic import mosaic
from striate.data.prepare import Prepare
from striate.data.store import decode
from striate.errors import BadData

PER_CLASS = {"train": 40, "val": 20}


@pytest.fixture(scope="session")
def clean(tmp_path_factory) -> Path:
    """Real digits as PNG class folders, 40 and 20 of each."""
    root = tmp_path_factory.mktemp("doctor") / "digits"
    source = open_data("digits")
    for split, count in PER_CLASS.items():
        images, label = source.splits[split].images, source.splits[split].targets["label"]
        for digit in range(10):
            folder = root / split / str(digit)
            folder.mkdir(parents=True)
            for i in np.flatnonzero(label == digit)[:count]:
                Image.fromarray(images[i][0]).save(folder / f"{i:04d}.png")
    return root


@pytest.fixture
def data(clean, tmp_path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "data"))


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def look(path: Path) -> Examination:
    return examine(open_data(path))


def only(found: Examination, kind: str):
    """The one finding, of that kind."""
    assert [finding.kind for finding in found.findings] == [kind]
    return found.findings[0]


def in_memory(images: np.ndarray, label: np.ndarray, val: tuple[np.ndarray, np.ndarray]) -> Source:
    splits = {"train": Split(images, {"label": label}), "val": Split(val[0], {"label": val[1]})}
    return Source("digits", Path("nowhere"), "arrays", splits, tuple("0123456789"))


# What it believes


def test_clean_digits_have_nothing_wrong(data):
    found = look(data)
    assert found.findings == ()
    assert found.counts == {"train": 400, "val": 200}
    assert found.balance["val"] == [20] * 10
    assert found.sizes == {"min": [8, 8], "median": [8, 8], "max": [8, 8]} and found.modes == {"L": 600}
    assert summary(found) == "600 pictures in 10 classes, train 400 / val 200; nothing wrong"
    assert not found.split_made


def test_built_in_digits_have_nothing_wrong_and_a_split_of_ours():
    found = look(Path("digits"))
    assert found.findings == () and found.split_made


def test_json_is_plain(data):
    (data / "train/3/broken.png").write_bytes(b"nothing")
    plain = json.loads(json.dumps(look(data).to_dict()))
    assert plain["pictures"] == 601 and plain["splits"]["train"]["classes"]["3"] == 40
    assert plain["findings"][0]["files"] == ["train/3/broken.png"]


# What is wrong with files and pictures


def test_a_truncated_file(data):
    victim = pictures(data / "train/4")[0]
    victim.write_bytes(victim.read_bytes()[:80])
    finding = only(look(data), "unreadable")
    assert finding.files == (f"train/4/{victim.name}",) and finding.severity == "error"
    assert finding.split == "train"


def test_a_set_in_which_nothing_can_be_read(data):
    for path in data.rglob("*.png"):
        path.write_bytes(b"nothing")
    found = look(data)
    assert [f.kind for f in found.findings] == ["unreadable", "unreadable"]
    assert sum(len(f.files) for f in found.findings) == 600


def test_an_exact_duplicate_within_a_split(data):
    first = pictures(data / "train/5")[0]
    shutil.copy(first, data / "train/5/zz.png")
    finding = only(look(data), "duplicates")
    assert finding.files == (f"train/5/{first.name}", "train/5/zz.png") and finding.severity == "warning"


def test_a_duplicate_is_found_by_pixels_whatever_the_file(data):
    first = pictures(data / "train/5")[0]
    Image.open(first).save(data / "train/5/zz.bmp")
    assert only(look(data), "duplicates").files[1] == "train/5/zz.bmp"


def test_a_duplicate_across_splits_is_leakage(data):
    first = pictures(data / "val/6")[0]
    shutil.copy(first, data / "train/6/zz.png")
    found = look(data)
    finding = only(found, "leakage")
    assert finding.severity == "error" and set(finding.files) == {"train/6/zz.png", f"val/6/{first.name}"}
    assert summary(found).endswith("; 1 exact duplicate across train and val")


def test_one_picture_under_two_labels(data):
    first = pictures(data / "train/3")[0]
    shutil.copy(first, data / "train/8/zz.png")
    assert only(look(data), "contradiction").files == (f"train/3/{first.name}", "train/8/zz.png")


def test_a_picture_saved_again_is_a_near_duplicate(tmp_path):
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(6):
                coarse = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8))
                coarse.resize((160, 120), Image.Resampling.BICUBIC).save(tmp_path / split / name / f"{i}.png")
    with Image.open(tmp_path / "train/a/0.png") as picture:
        picture.resize((120, 90)).point(lambda v: v * 0.9 + 10).save(tmp_path / "val/a/again.jpg", quality=80)
    finding = only(look(tmp_path), "near-leakage")
    assert finding.files == ("train/a/0.png", "val/a/again.jpg")


def test_large_jpegs_equal_only_when_shrunk_are_not_exact_duplicates(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    for name, quality in (("a/1", 90), ("a/2", 90), ("b/1", 30)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg", quality=quality)
    found = examine(Source("x", tmp_path, "x", open_data_all(tmp_path), ("a", "b")), quick=True)
    assert [f.kind for f in found.findings if "duplic" in f.message] == ["duplicates"]


def open_data_all(path: Path) -> dict[str, Split]:
    from striate.data.readers import folders

    return folders.read(path).splits


def test_nearly_constant_pictures(data):
    for i in range(2):
        Image.new("L", (8, 8), 3).save(data / f"train/7/zz{i}.png")
    assert only(look(data), "constant").files == ("train/7/zz0.png", "train/7/zz1.png")


def test_a_split_that_is_one_picture_over_and_over(data):
    for folder in (data / "val").iterdir():
        for path in pictures(folder):
            shutil.copy(pictures(data / "train/0")[0], path)
    found = look(data)
    assert "all-alike" in [f.kind for f in found.findings if f.split == "val"]


def test_an_odd_size_and_an_odd_mode(data):
    with Image.open(pictures(data / "train/1")[0]) as picture:
        picture.resize((80, 8)).convert("CMYK").save(data / "train/1/zz.jpg")
    kinds = {f.kind: f.files for f in look(data).findings}
    assert kinds == {"odd-size": ("train/1/zz.jpg",), "odd-mode": ("train/1/zz.jpg",)}


# What is wrong with classes and labels


def test_a_class_without_pictures_in_a_split(data):
    shutil.rmtree(data / "val/9")
    finding = only(look(data), "empty-class")
    assert finding.severity == "warning" and finding.message.endswith("in val: 9")


def test_a_class_that_is_rare(data):
    for path in pictures(data / "train/2")[4:]:
        path.unlink()
    assert only(look(data), "imbalance").message.startswith("classes up to 10 to 1 in train")


def test_two_swapped_labels_are_named(data):
    one, two = pictures(data / "train/0")[3], pictures(data / "train/4")[3]
    one.rename(data / "train/4/from0.png"), two.rename(data / "train/0/from4.png")
    found = look(data)
    finding = only(found, "suspect-labels")
    assert set(finding.files) == {"train/4/from0.png", "train/0/from4.png"} and "swapped?" in finding.message
    assert {(s.label, s.looks_like) for s in found.suspects} == {("4", "0"), ("0", "4")}


def test_two_classes_exchanged_in_one_split(data):
    (data / "val/2").rename(data / "val/x")
    (data / "val/7").rename(data / "val/2")
    (data / "val/x").rename(data / "val/7")
    assert only(look(data), "exchanged-labels").message.endswith("2 and 7 have changed places")


@pytest.fixture(scope="session")
def arrays():
    split = open_data("digits").splits
    return {name: (part.images, part.targets["label"]) for name, part in split.items()}


def test_labels_off_by_one(arrays):
    images, label = arrays["val"]
    found = examine(in_memory(*arrays["train"], (images, (label + 1) % 10)))
    assert "every class is off by one (0 shows 9, and so on)" in only(found, "exchanged-labels").message


@pytest.mark.parametrize("places", [1, -1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_shifted_against_the_pictures(arrays, split, places):
    parts = dict(arrays)
    parts[split] = parts[split][0], np.roll(parts[split][1], places)
    finding = only(examine(in_memory(*parts["train"], parts["val"])), "shifted-labels")
    assert finding.split == split and ("one before" if places > 0 else "next one") in finding.message


def test_labels_that_no_class_has(arrays):
    images, label = arrays["val"]
    label = np.where(np.arange(len(label)) == 5, 10, label)
    assert only(examine(in_memory(*arrays["train"], (images, label))), "bad-label").files == ("val #5",)


def test_pictures_without_labels_are_looked_at_too(arrays):
    images = np.concatenate([arrays["val"][0], arrays["val"][0][:1]])
    source = Source("x", Path("nowhere"), "x", {"all": Split(images, {"caption": [""] * len(images)})})
    assert only(examine(source), "duplicates").files == ("all #0", f"all #{len(images) - 1}")


# What a training asks first


def test_quick_on_decoded_pictures(data):
    shutil.copy(pictures(data / "val/6")[0], data / "train/6/zz.png")
    (data / "train/3/broken.png").write_bytes(b"nothing")
    source = open_data(data)
    stores = {name: decode(split, Prepare((8, 8), 1)) for name, split in source.splits.items()}
    found = examine(source, stores=stores, quick=True)
    assert [f.kind for f in found.findings] == ["unreadable", "leakage"]
    line = summary(found)
    assert line.startswith("601 pictures in 10 classes, train 401 / val 200; 1 unreadable picture; ")


def test_keys_tell_rows_that_differ_in_one_bit():
    rows = np.random.default_rng(0).integers(0, 256, (1, 3, 5, 5), dtype=np.uint8).repeat(76, axis=0)
    flat = rows.reshape(76, -1)
    flat[np.arange(75), np.arange(75)] ^= 1 << 7
    assert len(np.unique(row_keys(rows))) == 76
    assert (row_keys(rows[:3]) == row_keys(rows)[:3]).all()


# Mending


def test_mending_leaves_out_and_lists_and_touches_nothing(data, tmp_path):
    (data / "train/3/broken.png").write_bytes(b"nothing")
    shutil.copy(pictures(data / "train/5")[0], data / "train/5/zz.png")
    leaked = pictures(data / "val/6")[0]
    shutil.copy(leaked, data / "train/6/zz.png")
    pictures(data / "train/0")[3].rename(data / "train/4/from0.png")
    before = {path: path.read_bytes() for path in sorted(data.rglob("*.*"))}
    source = open_data(data)
    done = mend(source, examine(source), tmp_path / "out")
    assert (done.unreadable, done.duplicates, done.review) == (1, 2, 1)
    assert done.pictures == {"train": 400, "val": 200}
    assert {path: path.read_bytes() for path in sorted(data.rglob("*.*"))} == before
    out = tmp_path / "out"
    assert not (out / "train/6/zz.png").exists() and not (out / "train/5/zz.png").exists()
    assert (out / f"val/6/{leaked.name}").read_bytes() == leaked.read_bytes()
    with open(out / "review.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["file"], row["label"], row["suggested"]) == ("train/4/from0.png", "4", "0")
    assert float(row["confidence"]) > 0.9
    again = look(out).findings
    assert [f.kind for f in again] == ["suspect-labels", "reading"] and "review.csv" in again[1].message


def test_mending_does_not_choose_between_two_labels(data, tmp_path):
    first = pictures(data / "train/3")[0]
    shutil.copy(first, data / "train/8/zz.png")
    source = open_data(data)
    done = mend(source, examine(source), tmp_path / "out")
    assert done.duplicates == 0 and done.review == 2


def test_mending_arrays_and_hostile_class_names(arrays, tmp_path):
    source = in_memory(*arrays["val"], (arrays["val"][0][:50], arrays["val"][1][:50]))
    source.classes = ("../../x", "..", *"23456789")
    done = mend(source, examine(source, quick=True), tmp_path / "deep/out")
    assert done.pictures == {"train": 309, "val": 50}
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    again = open_data(tmp_path / "deep/out")
    assert len(again.classes) == 10 and len(again.splits["train"]) == 309


def test_mending_refuses_a_folder_in_use_or_inside_the_data(data, tmp_path):
    source = open_data(data)
    found = examine(source, quick=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with pytest.raises(BadData, match="holds something already; name a folder that is new or empty"):
        mend(source, found, tmp_path / "full")
    with pytest.raises(BadData, match="lies inside the data set"):
        mend(source, found, data / "fixed")


# The mosaic


def test_the_mosaic_shows_every_class(data):
    sheet = mosaic(open_data(data))
    assert sheet.mode == "RGB" and sheet.height > 10 * 100


def test_the_mosaic_of_many_classes_and_damaged_files_stays_small(tmp_path):
    for number in range(100):
        (tmp_path / f"class {number:03d}").mkdir()
        Image.new("RGB", (300, 20), (number, 0, 0)).save(tmp_path / f"class {number:03d}/a.png")
        (tmp_path / f"class {number:03d}/b.png").write_bytes(b"nothing")
    source = Source("many", tmp_path, "x", open_data_all(tmp_path), tuple(f"c{i}" for i in range(100)))
    assert mosaic(source).height < 3000


# Real sets


def test_real_photographs_are_not_accused(data_root):
    found = look(data_root / "hymenoptera")
    assert not [f for f in found.findings if f.severity == "error" or f.kind.endswith("labels")]
    assert sum(found.counts.values()) == 398


@pytest.mark.slow
def test_mnist_has_few_doubtful_labels(data_root):
    torch.set_num_threads(1)
    found = look(data_root / "mnist")
    assert {f.kind for f in found.findings} == {"suspect-labels"} and len(found.suspects) < 100
