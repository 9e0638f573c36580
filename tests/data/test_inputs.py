"""Pictures to predict on come in the order in which they were given, and what cannot be read is named."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.inputs import decoded, gather
from striate.data.prepare import Prepare
from striate.errors import BadData


def file(path: Path, grey: int) -> Path:
    Image.new("L", (8, 8), grey).save(path)
    return path


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_files_and_open_pictures_keep_their_order(tmp_path: Path, batch: int) -> None:
    first, last = file(tmp_path / "z.png", 10), file(tmp_path / "a.png", 50)
    given = [
        first,
        Image.new("L", (8, 8), 20),
        np.full((8, 8), 30, dtype=np.uint8),
        last,
        Image.new("L", (8, 8)),
    ]
    chunks = list(decoded(gather(given), Prepare((8, 8), 1), batch, []))
    names = [name for chunk in chunks for name in chunk.names]
    assert names == [str(first), "picture 2", "picture 3", str(last), "picture 5"]
    assert [int(one[0, 0, 0]) for chunk in chunks for one in chunk.images] == [10, 20, 30, 50, 0]
    assert all(len(chunk.images) == len(chunk.pictures) <= batch for chunk in chunks)


def test_the_contents_of_a_zip_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b/2.png", "1.png", "__MACOSX/1.png", "notes.txt"):
            archive.write(file(tmp_path / "a.png", 10), name)
    read: list[Path] = []

    class Noted(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            read.append(path)
            super().__init__(path)

    monkeypatch.setattr(zipfile, "ZipFile", Noted)
    chunks = list(decoded(gather(tmp_path / "a.zip"), Prepare((8, 8), 1), 8, []))
    assert [chunk.names for chunk in chunks] == [
        [f"{tmp_path}/a.zip/{name}" for name in ("1.png", "b/2.png")]
    ]
    assert read == [tmp_path / "a.zip"]


@pytest.mark.parametrize("name", ["a.zip", "a.dat"])
def test_a_zip_whose_contents_are_damaged(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.write(file(tmp_path / "a.png", 10), "a.png")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole.replace(b"PK\1\2", b"PK\1\3"))
    assert zipfile.is_zipfile(tmp_path / name)
    with pytest.raises(BadData, match=f"{name}: cannot be read as a zip"):
        gather(tmp_path / name)
