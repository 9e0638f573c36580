"""What the report promises: one page that needs nothing else, shows everything, and believes nobody."""

import math
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate.task import Picture
from striate.training.charts import chart, curves, ticks
from striate.training.report import filters_picture, write_report

EVIL = "<script>alert('x')</script>\"&"


def png() -> bytes:
    kept = BytesIO()
    Image.new("RGB", (40, 20)).save(kept, "PNG")
    return kept.getvalue()


def report(folder: Path, **changes: Any) -> Path:
    rows = [
        {
            "row": "epoch",
            "epoch": e,
            "loss": 2 / e,
            "val_loss": 2.2 / e,
            "accuracy": 1 - 0.5 / e,
            "lr": 0.1 / e,
        }
        for e in range(1, 6)
    ]
    layer = {"name": "conv1", "kind": "conv 5×5", "output": [6, 28, 28], "parameters": 156}
    table = {"output": [10], "parameters": 61706, "layers": [layer | {"multiply_adds": 117600}]}
    given = {
        "title": "lenet5 on digits",
        "summary": {"seconds": 9.1, "accuracy": 0.98765, "images_per_second": 12345.6, "data": "digits"},
        "rows": rows,
        "table": table,
        "pictures": [
            Picture("Confusion matrix", "Rows are true.", png()),
            Picture("Confusion matrix", "2", png()),
        ],
        "settings": {"task": "classify", "seed": 0, "recipe": {"lr": 0.003, "flip": None, "tta": True}},
    }
    return write_report(folder, **(given | changes))


class Tags(HTMLParser):
    """Collects what a browser would load or run, and checks that tags close in order."""

    def __init__(self, page: str):
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "srcset")]
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag not in ("meta", "img", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_one_page_shows_everything_and_loads_nothing(tmp_path: Path):
    page = report(tmp_path)
    assert page == tmp_path / "report.html"
    seen = Tags(page.read_text(encoding="utf-8"))
    assert seen.open == [] and all(link.startswith("data:image/png;base64,") for link in seen.links)
    assert "script" not in seen.tags and "link" not in seen.tags
    assert seen.tags.count("svg") == 3 and seen.tags.count("img") == 2 and "details" in seen.tags
    for words in ("98.77 %", "12,346", "6×28×28", "117,600", "61,706", "recipe.lr", "0.003"):
        assert words in seen.text
    assert f"striate predict {tmp_path} PICTURE" in seen.text
    files = {file.name for file in (tmp_path / "report").iterdir()}
    assert files == {
        "confusion-matrix.png",
        "confusion-matrix-2.png",
        "loss.svg",
        "figures.svg",
        "learning-rate.svg",
    }


def test_names_given_by_strangers_stay_text(tmp_path: Path):
    page = report(
        tmp_path / "a run; rm -rf",
        title=EVIL,
        summary={"accuracy": 1.0, "data": EVIL},
        rows=[{"epoch": 1, "loss": 1.0, EVIL: 0.5}],
        table={"layers": [{"name": EVIL, "kind": EVIL, "output": [EVIL]}]},
        pictures=[Picture(EVIL, EVIL, png()), Picture("../../up", "", png())],
        settings={EVIL: EVIL, "recipe": {EVIL: [EVIL]}},
    )
    text = page.read_text(encoding="utf-8")
    seen = Tags(text)
    assert "script" not in seen.tags and "<script" not in text
    assert seen.text.count("<script>alert('x')</script>") >= 8
    assert "'" + str(tmp_path / "a run; rm -rf") + "'" in seen.text
    assert (tmp_path / "a run; rm -rf" / "report" / "up.png").is_file()


def test_a_run_that_has_little_to_tell_has_a_page(tmp_path: Path):
    page = report(tmp_path, summary={}, rows=[], table=None, pictures=[], settings=None)
    assert Tags(page.read_text(encoding="utf-8")).tags.count("section") == 1


def test_a_second_report_replaces_the_first_and_leaves_no_parts(tmp_path: Path):
    report(tmp_path, title="first")
    page = report(tmp_path, title="second")
    text = page.read_text(encoding="utf-8")
    assert "<h1>second</h1>" in text and "<h1>first" not in text
    assert not [file for file in tmp_path.rglob("*") if "part" in file.name]


# Curves


def test_curves_are_svg_with_a_line_per_series():
    rows = [
        {"epoch": e, "loss": 1 / e, "test_loss": 2 / e, "accuracy": 0.9, "miou": 0.1, "lr": 0.1}
        for e in (1, 2)
    ]
    found = curves(rows)
    assert list(found) == ["Loss", "Figures", "Learning rate"]
    for svg, lines in zip(found.values(), (2, 2, 1), strict=True):
        root = ElementTree.fromstring(svg)
        paths = root.findall(".//{http://www.w3.org/2000/svg}path[@fill='none']")
        assert len(paths) == lines
    assert "test 1" in found["Loss"] and "accuracy 0.9" in found["Figures"]
    alone = [{"epoch": 1, "accuracy": 0.9, "top5": 0.99}]
    assert "accuracy 90.00 %" in curves(alone)["Figures"]


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "loss": 0.5}],
        [{"epoch": 1, "loss": 0.0}, {"epoch": 2, "loss": 0.0}],
        [{"loss": math.nan}, {"loss": 3.0, "accuracy": None}, {"loss": math.inf}],
        [{"epoch": e, "loss": -1e-9 * e, "accuracy": 1.0} for e in range(1, 300)],
        [{"epoch": 1, "loss": 1e12}, {"epoch": 2, "loss": 1e-12}],
    ],
)
def test_odd_numbers_are_drawn_inside_the_frame(rows: list[dict[str, Any]]):
    for svg in curves(rows).values():
        assert "nan" not in svg and "inf" not in svg
        for x, y in re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', svg):
            assert 0 <= float(x) <= 640 and 0 <= float(y) <= 320


def test_no_rows_no_curves():
    assert curves([]) == {} and curves([{"epoch": 1, "loss": None}]) == {}


def test_ticks_are_round_and_span_the_values():
    assert ticks(0, 2.3) == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5])
    assert ticks(0.93, 0.99)[0] <= 0.93 and ticks(0.93, 0.99)[-1] >= 0.99
    assert "100 %" in chart("Figures", {"accuracy": [(1, 0.95), (2, 1.0)]}, share=True)


# Filters


def test_filters_in_colour_are_stretched_one_by_one():
    conv = nn.Conv2d(3, 2, 2)
    weight = torch.zeros(2, 3, 2, 2)
    weight[0, 0, 0, 0], weight[1, 1, 1, 1] = 5.0, -0.01
    conv.weight.data.copy_(weight)
    made = filters_picture(nn.Sequential(nn.Identity(), conv, nn.Conv2d(2, 4, 1)))
    assert made is not None
    pixels = np.asarray(Image.open(BytesIO(made.png)))
    assert pixels[13, 13].tolist() == [255, 0, 0] and pixels[13, 100].tolist() == [0, 0, 0]
    assert pixels[13, 185].tolist() == [255, 255, 255] and pixels[100, 280].tolist() == [255, 0, 255]


@pytest.mark.parametrize(("channels", "filters"), [(1, 6), (1, 1), (4, 16), (2, 200)])
def test_filters_of_other_depths_are_grey(channels: int, filters: int):
    conv = nn.Conv2d(channels, filters, 5)
    conv.weight.data[0].fill_(0.3)
    made = filters_picture(conv)
    assert made is not None
    pixels = np.asarray(Image.open(BytesIO(made.png)))
    assert (pixels[..., 0] == pixels[..., 2]).all() and max(pixels.shape) < 2000
    assert pixels[20, 20].tolist() == [128, 128, 128] or channels > 1


def test_a_network_without_convolutions_has_no_filters():
    assert filters_picture(nn.Linear(3, 2)) is None
