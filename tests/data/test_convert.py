"""What is converted is read again as it was: no picture takes another's place, no box leaves its picture."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import Source, Split, open_data
from striate.data.convert import FORMATS, convert
from striate.data.source import ImageFile
from striate.data.things import Thing, targets


def picture(path: Path, grey: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30), grey).save(path)
    return path


def source_of(files: dict[str, list[ImageFile]], box=(1.0, 2.0, 11.0, 12.0), **notes) -> Source:
    """Every picture has one thing, whose class is the picture's number within its split."""
    splits = {}
    for name, some in files.items():
        things = [
            [Thing(box, i, keypoints=np.full((2, 3), 2.0) if notes else None)] for i in range(len(some))
        ]
        splits[name] = Split(some, targets(things, 2 if notes else 0))
    return Source("set", Path("set"), "test", splits, ("first", "second", "third"), notes=notes)


def pixels(source: Source) -> dict[str, list[tuple[int, int]]]:
    """Split -> (the picture's grey, its class) of every picture, sorted."""
    return {
        name: sorted(
            (Image.open(file.path).getpixel((0, 0)), int(split.targets["labels"][i][0]))
            for i, file in enumerate(split.images)
        )
        for name, split in source.splits.items()
    }


@pytest.mark.parametrize("to", FORMATS)
def test_pictures_of_one_name_stay_apart(tmp_path: Path, to: str) -> None:
    names = {"train": ["a.png", "a.bmp", "A.png"], "val": ["a.png"], "test": ["a.png", "a-test-0.png"]}
    files, grey = {}, 0
    for split, some in names.items():
        files[split] = []
        for name in some:
            grey += 10
            path = picture(tmp_path / "from" / str(grey) / name, grey)
            files[split].append(ImageFile(str(path), path))  # a list may name pictures anywhere
    source = source_of(files)
    convert(source, to, tmp_path / "to")
    assert pixels(open_data(tmp_path / "to")) == pixels(source)
    assert len(list((tmp_path / "from").rglob("*.*"))) == grey // 10


def test_boxes_that_reach_over_their_picture_are_cut_off(tmp_path: Path) -> None:
    file = ImageFile("a.png", picture(tmp_path / "a.png", 10))
    source = source_of({"train": [file], "val": [file]}, box=(-9.0, 5.0, 60.0, 29.0))
    for to in FORMATS:
        convert(source, to, tmp_path / to)
        boxes = open_data(tmp_path / to).splits["train"].targets["boxes"][0]
        np.testing.assert_allclose(boxes, [[0, 5, 40, 29]], atol=1e-4)


def test_yolo_is_not_told_what_is_left_and_right_where_nobody_knows(tmp_path: Path) -> None:
    file = ImageFile("a.png", picture(tmp_path / "a.png", 10))
    notes = {"joints": ["one", "other"], "bones": [], "mirror": False}
    for name, turned in (("unknown", [0, 1]), ("known", [1, 0])):
        convert(
            source_of({"train": [file], "val": [file]}, **notes, mirrored=turned), "yolo", tmp_path / name
        )
        assert ("flip_idx: [1, 0]" in (tmp_path / name / "data.yaml").read_text()) == (name == "known")


def test_names_of_any_script_survive_any_locale(tmp_path: Path) -> None:
    name = "été.png"
    picture(tmp_path / "from" / "JPEGImages" / name, 10)
    (tmp_path / "from" / "Annotations").mkdir()
    (tmp_path / "from" / "Annotations" / "été.xml").write_text(
        "<annotation><size><width>40</width><height>30</height></size><object><name>château</name><bndbox>"
        "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>",
        encoding="utf-8",
    )
    lists = tmp_path / "from" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        (lists / f"{split}.txt").write_text("été\n", encoding="utf-8")
    code = (
        "import sys, warnings; from pathlib import Path; from striate.data import open_data\n"
        "from striate.data.convert import FORMATS, convert\n"
        "warnings.filterwarnings('error', category=EncodingWarning, module='striate')\n"
        "for to in FORMATS: convert(open_data(Path(sys.argv[1])), to, Path(sys.argv[2]) / to)"
    )
    command = [sys.executable, "-X", "warn_default_encoding", "-c", code]
    done = subprocess.run([*command, tmp_path / "from", tmp_path / "to"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for to in FORMATS:
        again = open_data(tmp_path / "to" / to)
        assert again.classes == ("château",) and Path(again.splits["train"].name(0)).name == name
