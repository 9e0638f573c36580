"""Boxes in a table: every arrangement of columns is read, what is wrong is named by its line."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import striate
from striate.data import open_data
from striate.data.gallery import gallery
from striate.data.source import Source
from striate.errors import BadData


def boxes_csv(folder: Path, text: str, name: str = "boxes.csv") -> Path:
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for one in "abc":
        Image.new("RGB", (40, 30), (10, 20, 30)).save(folder / "img" / f"{one}.jpg")
    (folder / name).write_text(text)
    return folder / name


COLUMNS = "path,class,xmin,ymin,xmax,ymax"
ROWS = """img/b.jpg,dog,2,3,12,15
img/a.jpg,,,,,
img/c.jpg,cat,0,0,40,30
img/b.jpg,cat,1.5,2,9,8.25
"""


def by_name(source: Source) -> dict[str, list[tuple[str, list[float]]]]:
    """Picture -> (class, box) of everything in it."""
    return {
        Path(split.name(i)).stem: [
            (source.classes[label], box.tolist())
            for label, box in zip(split.targets["labels"][i], split.targets["boxes"][i], strict=True)
        ]
        for split in source.splits.values()
        for i in range(len(split))
    }


FOUND = {"a": [], "b": [("dog", [2, 3, 12, 15]), ("cat", [1.5, 2, 9, 8.25])], "c": [("cat", [0, 0, 40, 30])]}


@pytest.mark.parametrize(
    "text",
    [
        f"{COLUMNS}\n{ROWS}",
        "Filename;x1;y1;x2;y2;Label\nimg/b.jpg;2;3;12;15;dog\nimg/a.jpg;;;;;\nimg/c.jpg;0;0;40;30;cat\n"
        "./img/b.jpg;1.5;2;9;8.25;cat\n",
        "image,label,x,y,width,height\nimg/b.jpg,dog,2,3,10,12\nimg/a.jpg,,,,,\nimg/c.jpg,cat,0,0,40,30\n"
        "img/b.jpg,cat,1.5,2,7.5,6.25\n",
        "x,y,w,h,class,path\n2,3,10,12,dog,img/b.jpg\n,,,,,img/a.jpg\n0,0,40,30,cat,img/c.jpg\n"
        "1.5,2,7.5,6.25,cat,img/b.jpg\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\nimg/b.jpg,40,30,dog,2,3,12,15\n"
        "img/a.jpg,40,30,,,,,\nimg/c.jpg,40,30,cat,0,0,40,30\nimg/b.jpg,40,30,cat,1.5,2,9,8.25\n",
        "img/b.jpg,2,3,12,15,dog\nimg/a.jpg,,,,,\nimg/c.jpg,0,0,40,30,cat\nimg/b.jpg,1.5,2,9,8.25,cat\n",
        "img/a.jpg,,,,,\nimg/b.jpg,2,3,12,15,dog\nimg/c.jpg,0,0,40,30,cat\nimg/b.jpg,1.5,2,9,8.25,cat\n",
    ],
    ids=["corners", "semicolons", "lengths", "any order", "sizes too", "no header", "no header, empty first"],
)
def test_csv_boxes_in_every_arrangement(tmp_path: Path, text: str) -> None:
    source = open_data(boxes_csv(tmp_path, text))
    assert source.format == "CSV of boxes" and source.classes == ("cat", "dog") and not source.warnings
    assert by_name(source) == FOUND


def test_csv_boxes_have_splits_and_classes_as_numbers(tmp_path: Path) -> None:
    text = f"{COLUMNS},split\nimg/a.jpg,10.0,0,0,5,5,train\nimg/a.jpg,9,1,1,6,6,train\nimg/b.jpg,,,,,,valid\n"
    source = open_data(boxes_csv(tmp_path, text))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 1, "val": 1}
    assert source.classes == ("9", "10") and source.splits["train"].targets["labels"][0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{COLUMNS}\nimg/a.jpg,dog,2,3,62,15\n", "line 2, box: the box 2, 3, 62, 15 lies outside .*40×30"),
        (f"{COLUMNS}\nimg/a.jpg,dog,12,3,2,15\n", "line 2, box: the box 12, 3, 2, 15 ends before it begins"),
        (f"{COLUMNS}\nimg/a.jpg,dog,2,3,12,fifteen\n", "line 2, ymax: 'fifteen' is no number"),
        (f"{COLUMNS}\nimg/a.jpg,dog,2,,12,15\n", "line 2, ymin: '' is no number"),
        (f"{COLUMNS}\nimg/a.jpg,,2,3,12,15\n", "line 2: the class is empty"),
        (f"{COLUMNS}\n,dog,2,3,12,15\n", "line 2: the path is empty"),
        (f"{COLUMNS}\nimg/a.jpg,dog,2,3\n", "line 2: has 4 columns, 6 are needed"),
        (f"{COLUMNS}\nimg/a.jpg,1,2,3,12,15\nimg/a.jpg,dog,2,3,12,15\n", "mixed label types: line 2 .*3"),
        (f"{COLUMNS}\ngone.jpg,dog,2,3,12,15\n", "none of its 1 files exists"),
        (f"{COLUMNS}\n", "names the columns, but no picture"),
        ("path,x,y,w,h\nimg/a.jpg,2,3,5,5\n", "has boxes, but no column of their classes"),
        (
            f"{COLUMNS},split\nimg/a.jpg,,,,,,train\nimg/b.jpg,,,,,,val\n./img/a.jpg,dog,2,3,12,15,val\n",
            "line 4, split: ./img/a.jpg is in val here, in train on line 2",
        ),
        (f"{COLUMNS},split\nimg/a.jpg,,,,,,sometimes\n", "line 2: split 'sometimes': there are train"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_csv_boxes_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadData, match=f"boxes.csv.*{says}"):
        open_data(boxes_csv(tmp_path, text))


def test_csv_boxes_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    text = f"{COLUMNS}\nimg/a.jpg,dog,5,5,5,9\nimg/b.jpg,dog,-1,0,41,10\ngone.jpg,dog,1,1,2,2\n"
    source = open_data(boxes_csv(tmp_path, text))
    assert by_name(source) == {"a": [], "b": [("dog", [0, 0, 40, 10])], "gone": []}
    assert "1 of its files do not exist (gone.jpg, ...)" in source.warnings[0]
    assert "line 2, box: dog has no area and is left out" in source.warnings[1]


def test_tables_of_labels_are_still_labels(tmp_path: Path) -> None:
    for text in (
        "path,label\nimg/a.jpg,x\nimg/b.jpg,x\nimg/c.jpg,y\n",
        "img/a.jpg,1\nimg/b.jpg,1\nimg/c.jpg,2\n",
    ):
        assert open_data(boxes_csv(tmp_path, text)).format == "CSV of paths and labels"


def test_csv_boxes_are_drawn_and_trained_on(tmp_path: Path) -> None:
    lines = [COLUMNS]
    for number in range(6):
        x, y, colour = 4 + 5 * number, 30 - 4 * number, ("red", "blue")[number % 2]
        image = Image.new("RGB", (64, 64), (110, 110, 110))
        image.paste(colour, (x, y, x + 20, y + 24))
        image.save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{colour},{x},{y},{x + 20},{y + 24}")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    assert gallery(open_data(tmp_path / "boxes.csv")).width > 1000
    command = [sys.executable, "-m", "striate", "data", "boxes.csv", "--mosaic", "drawn.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "drawn.png").is_file(), done.stderr
    run = striate.train(
        "detect", tmp_path / "boxes.csv", size=32, epochs=1, out=tmp_path / "run", progress=False
    )
    assert run.facts["classes"] == ["blue", "red"] and "map50" in run.figures
