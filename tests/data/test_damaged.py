"""A file that is damaged, or of another kind than it says, is named in one line; no traceback."""

import gzip
import json
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import open_data
from striate.data.masks import MaskFile
from striate.data.readers.idx import load
from striate.data.source import ImageFile
from striate.errors import BadData

LATIN = "été\n".encode("latin-1")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30)).save(path)


def yolo(folder: Path) -> Path:
    picture(folder / "images" / "train" / "a.jpg")
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.5 0.2\n")
    (folder / "data.yaml").write_text(
        "train: list.txt\nval: images/train\nnames: [cat]\n", encoding="utf-8-sig"
    )
    (folder / "list.txt").write_text("images/train/a.jpg\n", encoding="utf-8-sig")
    return folder


def voc(folder: Path) -> Path:
    picture(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(
        "<annotation><size><width>40</width><height>30</height></size></annotation>"
    )
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("a\n", encoding="utf-8-sig")
    (folder / "classes.txt").write_text("cat\n", encoding="utf-8-sig")
    return folder


def masks(folder: Path) -> Path:
    for split in ("train", "val"):
        picture(folder / split / "images" / "a.jpg")
        picture(folder / split / "masks" / "a.png")
    (folder / "classes.txt").write_text("sky\nroad\n", encoding="utf-8-sig")
    return folder


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (yolo, "labels/train/a.txt"),
        (yolo, "list.txt"),
        (yolo, "data.yaml"),
        (voc, "ImageSets/Main/train.txt"),
        (voc, "classes.txt"),
        (masks, "classes.txt"),
    ],
)
def test_text_that_is_not_utf_8(tmp_path: Path, make, file: str) -> None:
    folder = make(tmp_path)
    assert {name: len(split) for name, split in open_data(folder).splits.items()} == {"train": 1, "val": 1}
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole + b"# " + LATIN)
    with pytest.raises(BadData, match=rf"{file}: cannot be read as (text|YAML): .*codec can't decode byte"):
        open_data(folder)


@pytest.mark.parametrize("encoding", ["no-such-thing", "rot13", "shift_jis"])
def test_xml_in_an_encoding_that_nobody_knows(tmp_path: Path, encoding: str) -> None:
    folder = voc(tmp_path)
    text = (folder / "Annotations" / "a.xml").read_text()
    (folder / "Annotations" / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>{text}')
    with pytest.raises(BadData, match=r"a.xml: cannot be read as XML: "):
        open_data(folder)


def test_json_that_is_not_utf_8(tmp_path: Path) -> None:
    text = json.dumps({"images": [], "annotations": [], "categories": []})
    (tmp_path / "train.json").write_bytes(text.encode() + LATIN)
    with pytest.raises(BadData, match="train.json: cannot be read as text: "):
        open_data(tmp_path)


def spoiled(data: bytes) -> bytes:
    """Gzipped data whose compressed part begins with a block of a kind that there is not."""
    packed = gzip.compress(data, mtime=0)
    return packed[:10] + b"\x07" + packed[11:]


def test_gzipped_files_that_are_spoiled(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(spoiled(b"\0\0\x08\x01\0\0\0\x01\x07"))
    with pytest.raises(BadData, match="x.gz: cannot be read: .*; fetch it again"):
        load(tmp_path / "x.gz", 1)


def test_an_archive_that_is_spoiled_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(np.random.default_rng(0).bytes(1 << 20))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "data_batch_1", "cifar-10-batches-py/data_batch_1")
    file = tmp_path / "cifar-10-python.tar.gz"
    packed = bytearray(file.read_bytes())
    for place in range(len(packed) // 2, len(packed) - 64, 7):
        packed[place] ^= 0x55
    file.write_bytes(packed)
    with pytest.raises(BadData, match="cifar-10-python.tar.gz: cannot be read: .*; fetch it again"):
        open_data(file)


def test_a_mask_that_claims_to_be_huge(tmp_path: Path) -> None:
    sides, pixels = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0), zlib.compress(b"\0" * 99)
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", sides), (b"IDAT", pixels))
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(BadData, match="a.png: this mask cannot be read: "):
        MaskFile(ImageFile("a.png", tmp_path / "a.png"), 2).read()
    with pytest.raises(BadData, match="^b.png: cannot be read: No such file"):
        MaskFile(ImageFile("b.png", tmp_path / "b.png"), 2).read()
