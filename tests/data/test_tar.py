"""Tar shards are read in place by any thread; what is wrong with one is said, and nothing is unpacked."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import open_data
from striate.data.picture import encoded
from striate.data.prepare import Prepare
from striate.data.readers import folders, tar
from striate.data.store import decode
from striate.errors import BadData


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 6), (value, 0, 255 - value)).save(stream, "PNG")
    return stream.getvalue()


def shard(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """A tar of (name, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def sample(key: str, label: str, value: int = 0) -> list[tuple[str, bytes | str]]:
    return [(f"{key}.png", png(value)), (f"{key}.cls", label)]


def several(first: int, n: int, labels=("cat", "dog")) -> list[tuple[str, bytes | str]]:
    return [m for i in range(first, first + n) for m in sample(f"{i:04d}", labels[i % len(labels)], i)]


def test_shards_are_one_set_in_the_order_of_their_names(tmp_path):
    shard(tmp_path / "000001.tar", *several(4, 4))
    shard(tmp_path / "000000.tar", *several(0, 4))
    source = tar.read(tmp_path)
    split = source.splits["all"]
    assert source.classes == ("cat", "dog") and source.format == "tar shards" and not source.warnings
    assert split.name(5) == "000001.tar/0005.png" and split.targets["label"].tolist() == [0, 1] * 4
    assert [encoded(file) for file in split.images] == [png(i) for i in range(8)]
    assert set(open_data(tmp_path).splits) == {"train", "val"}


@pytest.mark.parametrize("layout", ["{0}/0.tar", "{0}-0.tar", "my-{0}-000000.tar"])
def test_splits_by_folder_or_by_name(tmp_path, layout):
    for split in ("train", "val", "test"):
        shard(tmp_path / layout.format(split), *several(0, 4))
    assert list(open_data(tmp_path).splits) == ["train", "val", "test"]


@pytest.mark.parametrize("layout", ["{0}/0.tar", "{0}-0.tar"])
def test_trainval_is_the_training_set_where_there_is_no_other(tmp_path, layout):
    for split in ("trainval", "test"):
        shard(tmp_path / layout.format(split), *several(0, 4))
    assert {name: len(part) for name, part in open_data(tmp_path).splits.items()} == {"train": 4, "test": 4}
    shard(tmp_path / layout.format("train"), *several(0, 2))
    assert {name: len(part) for name, part in open_data(tmp_path).splits.items()} == {"train": 2, "test": 4}


def test_one_archive_is_a_set(tmp_path):
    assert len(tar.read(shard(tmp_path / "a.tar", *several(0, 4))).splits["all"]) == 4


@pytest.mark.parametrize("value", [3, "3", "cat"])
@pytest.mark.parametrize("field", ["cls", "label", "class_name"])
def test_classes_in_json(tmp_path, field, value):
    members = [("a.png", png(0)), ("a.json", json.dumps({"width": 6, field: value}))]
    source = tar.read(shard(tmp_path / "a.tar", *members))
    assert source.classes == (str(value),)


def test_numbers_are_ordered_as_numbers_and_keys_end_at_the_first_dot(tmp_path):
    members = [(f"./x.y/{i}.seg.png", png(i)) for i in (2, 10)]
    members += [(f"./x.y/{i}.cls", str(i)) for i in (2, 10)]
    source = tar.read(shard(tmp_path / "a.tar", *members))
    assert source.classes == ("2", "10") and source.splits["all"].targets["label"].tolist() == [0, 1]


def test_a_tar_of_class_folders_is_the_folder(tmp_path):
    names = [f"{split}/{c}/{i}.png" for split in ("train", "val") for c in ("a", "b") for i in range(3)]
    for i, name in enumerate(names):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(png(i))
    packed = shard(tmp_path / "set.tar", *((name, png(i)) for i, name in enumerate(names)))
    one, other = open_data(tmp_path / "folder"), open_data(packed)
    assert other.format == "tar shards of class folders" and one.classes == other.classes
    for split in ("train", "val"):
        stored = [decode(source.splits[split], Prepare((6, 6), 3)) for source in (one, other)]
        assert torch.equal(stored[0].images, stored[1].images)
        assert torch.equal(stored[0].targets["label"], stored[1].targets["label"])


def test_folders_of_pictures_are_still_folders(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(png(1))
    assert not tar.recognise(tmp_path) and folders.recognise(tmp_path)
    shard(tmp_path / "words.tar", ("a.txt", "words"))
    assert not tar.recognise(tmp_path / "words.tar")


def test_pictures_of_one_name_in_several_shards_are_all_there(tmp_path):
    for number in range(3):  # every writer counts from 0, and macOS leaves its own files
        members = [(f"{name}/0000.png", png(40 * number)) for name in ("cats", "dogs")]
        shard(tmp_path / f"{number:06d}.tar", *members)
    (tmp_path / "._000000.tar").write_bytes(b"left behind")
    source = tar.read(tmp_path)
    assert source.splits["all"].targets["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert len({(file.path, file.span) for file in source.splits["all"].images}) == 6


def test_a_sample_has_one_picture(tmp_path):
    shard(
        tmp_path / "a.tar",
        ("0.seg.png", png(1)),
        *sample("0", "cat"),
        ("0.thumb.png", png(2)),
        *sample("1", "dog"),
    )
    source = tar.read(tmp_path)
    assert [file.name for file in source.splits["all"].images] == ["a.tar/0.png", "a.tar/1.png"]
    assert "a.tar/0.seg.png" in source.warnings[0] and "2" in source.warnings[0]


def test_links_and_devices_are_not_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(9))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for i, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"{i}.png")
            member.type, member.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(member)
        for name, data in several(7, 2):
            member = tarfile.TarInfo(f"/etc/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data if isinstance(data, bytes) else data.encode()))
    before = set(tmp_path.iterdir())
    source = tar.read(path)
    assert [split.name(0) for split in source.splits.values()] == ["a.tar//etc/0007.png"]
    assert source.warnings == [f"{path}: 3 links are not followed and were left out, such as a.tar/0.png"]
    assert set(tmp_path.iterdir()) == before


def damaged(path: Path, change) -> Path:
    whole = bytearray(path.read_bytes())
    path.write_bytes(change(whole))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:3000],
        lambda data: data[:1024] + b"Z" * 512 + data[1536:],
        lambda data: b"\x1f\x8b" + data[2:],
    ],
    ids=["cut short", "a damaged header", "compressed"],
)
def test_a_damaged_archive_is_named_with_what_to_do(tmp_path, change):
    path = damaged(shard(tmp_path / "a.tar", *several(0, 3)), change)
    with pytest.raises(BadData, match=r"a\.tar: cannot be read as a tar: .*not compressed.*fetch a damaged"):
        open_data(path)


def test_a_file_that_became_shorter_names_the_member(tmp_path):
    path = shard(tmp_path / "a.tar", *several(0, 2))
    last = tar.read(path).splits["all"].images[-1]
    damaged(path, lambda data: data[:1600])
    with pytest.raises(BadData, match=r"a\.tar/0001\.png: cannot be read: a\.tar ends before it does"):
        encoded(last)


def test_a_damaged_picture_is_left_out_by_name(tmp_path):
    path = shard(tmp_path / "a.tar", *several(0, 3), ("9.png", png(0)[:40]), ("9.cls", "cat"))
    store = decode(tar.read(path).splits["all"], Prepare((6, 6), 3))
    assert len(store) == 3 and store.left_out[0].startswith("a.tar/9.png: cannot be read")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [("a.png", png(0)), *sample("b", "1")],
            r"a\.tar: a\.png has no label: a\.cls should hold its class",
        ),
        (
            [*sample("a", "1"), *sample("b", "cat")],
            r"mixed label types: a\.tar/a\.png has the number 1, a\.tar/b",
        ),
        ([("a.png", png(0)), ("a.cls", b"\xff\xfe")], r"a\.tar: a\.cls: cannot be read: .* UTF-8 text"),
        ([("a.png", png(0)), ("a.cls", "  ")], r"a\.cls: '' is no class"),
        ([("a.png", png(0)), ("a.json", "{"), *sample("b", "1")], r"a\.json: cannot be read"),
        ([("a.png", png(0)), ("a.json", '{"cls": [1]}'), *sample("b", "1")], r"a\.json: '\[1\]' is no class"),
        ([("a.png", png(0)), ("a.cls", "x" * (2 << 20))], r"a\.cls: has 2,097,152 bytes; a label has few"),
    ],
)
def test_what_is_wrong_with_labels_is_said(tmp_path, members, message):
    with pytest.raises(BadData, match=message):
        tar.read(shard(tmp_path / "a.tar", *members))


def test_shards_with_and_without_a_split_are_refused(tmp_path):
    shard(tmp_path / "000.tar", *several(0, 2))
    shard(tmp_path / "val-000.tar", *several(0, 2))
    with pytest.raises(BadData, match=r"000\.tar names no split, val-000\.tar does"):
        open_data(tmp_path)


def test_a_size_that_goes_back_does_not_go_round_in_circles(tmp_path):
    path = shard(tmp_path / "a.tar", *several(0, 2))
    data = bytearray(path.read_bytes())
    data[124:136] = b"\xff" * 9 + (-4096 & 0xFFFFFF).to_bytes(3, "big")
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path.write_bytes(data)
    with pytest.raises(BadData, match="cannot be read as a tar"):
        tar.read(path)


def test_every_member_by_many_threads(tmp_path):
    path = shard(tmp_path / "a.tar", *several(0, 200))
    store = decode(tar.read(path).splits["all"], Prepare((6, 6), 3))
    assert np.array_equal(store.images[:, 0, 0, 0].numpy(), np.arange(200))
