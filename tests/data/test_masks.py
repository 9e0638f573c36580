"""Masks: every arrangement of folders is found, every kind of file comes out alike, errors name the pixel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import open_data
from striate.data.augment import Warp, draw_warp, warp
from striate.data.masks import IGNORED, MaskFile, pixels_of, placed, warp_masks
from striate.data.prepare import Fit, Prepare
from striate.data.source import ImageFile, Split
from striate.errors import BadData
from striate.tasks.segment.data import facts


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


def mask(path: Path, pixels: np.ndarray | None = None, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array([[0] * 4 + [1] * 4] * 6) if pixels is None else pixels
    image = Image.fromarray(pixels.astype(np.uint8), mode=None if pixels.ndim == 3 else "L")
    if mode == "P":
        image = Image.fromarray(pixels.astype(np.uint8), mode="P")
        image.putpalette([0, 0, 0, 200, 30, 30, 30, 200, 30])
    image.save(path)


@pytest.mark.parametrize(
    ("pictures", "masks", "splits"),
    [
        ("train/images", "train/masks", ["train"]),
        ("images/val", "masks/val", ["val"]),
        ("images", "masks", ["train", "val"]),
        ("JPEGImages", "SegmentationClass", ["train", "val"]),
        ("train", "trainannot", ["train"]),
    ],
)
def test_the_usual_arrangements(tmp_path: Path, pictures: str, masks: str, splits: list[str]) -> None:
    for name in "abcde":
        picture(tmp_path / pictures / f"{name}.jpg")
        mask(tmp_path / masks / f"{name}.png")
    if splits == ["val"]:
        picture(tmp_path / "images/train/f.jpg")
        mask(tmp_path / "masks/train/f.png")
        splits = ["train", "val"]
    elif splits == ["train"]:
        splits = ["train", "val"]  # made
    source = open_data(tmp_path)
    assert source.format == "pictures and masks" and list(source.splits) == splits
    assert source.classes == ("0", "1")
    for split in source.splits.values():
        for file, found in zip(split.images, split.targets["mask"], strict=True):
            assert Path(file.name).stem == Path(found.file.name).stem


def test_class_folders_and_yolo_labels_are_not_masks(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for name in "abcdef":
        picture(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert open_data(tmp_path).format.startswith("YOLO")


def test_names_come_from_classes_txt_and_the_last_may_be_none(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png", np.array([[0, 1, 2, 255] * 2] * 6))
    (tmp_path / "classes.txt").write_text("sky\nroad\nunlabelled\n")
    source = open_data(tmp_path)
    assert source.classes == ("sky", "road")
    found = source.splits["train"].targets["mask"][0].read()
    assert found[0].tolist() == [0, 1, IGNORED, IGNORED] * 2


def test_palettes_are_numbers_and_colours_need_a_table(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 2, 0] * 2] * 6)
    table = np.array([[0, 0, 0], [128, 64, 0], [0, 0, 192]])
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png", numbers, mode="P")
    found = open_data(tmp_path).splits["train"].targets["mask"][0].read()
    assert np.array_equal(found, numbers)
    for name in "abc":
        mask(tmp_path / "masks" / f"{name}.png", table[numbers])
    with pytest.raises(BadData, match="masks/a.png: this mask has colours.*class_dict.csv"):
        open_data(tmp_path)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,0,0,0\nroad,128,64,0\ncar,0,0,192\n")
    source = open_data(tmp_path)
    assert source.classes == ("sky", "road", "car")
    assert np.array_equal(source.splits["train"].targets["mask"][0].read(), numbers)
    mask(tmp_path / "masks" / "b.png", table[numbers] + 1)
    wrong = next(
        m for s in source.splits.values() for m in s.targets["mask"] if m.file.name.endswith("b.png")
    )
    with pytest.raises(BadData, match=r"masks/b.png: pixel \(0, 0\) has the colour \(1, 1, 1\)"):
        wrong.read()


def test_errors_name_the_file_and_the_pixel(tmp_path: Path) -> None:
    mask(tmp_path / "a.png", np.array([[0, 0], [0, 7]]))
    file = MaskFile(ImageFile("masks/a.png", tmp_path / "a.png"), 3)
    with pytest.raises(BadData, match=r"masks/a.png: pixel \(1, 1\) is 7, but the classes are 0 to 2"):
        file.read()
    fit = Fit(np.ones((1, 2)), np.zeros((1, 2)), np.array([[6, 8]]), (6, 8))
    with pytest.raises(BadData, match="b.png: this mask is 2×2, its picture 8×6"):
        placed(np.zeros((2, 2), dtype=np.uint8), fit, 0, (6, 8), "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match="c.png: this mask cannot be read"):
        MaskFile(ImageFile("c.png", tmp_path / "c.png"), 3).read()


def test_pictures_without_a_mask_are_left_out_and_said(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png")
    picture(tmp_path / "images" / "lonely.jpg")
    source = open_data(tmp_path)
    assert sum(len(split) for split in source.splits.values()) == 3
    assert "1 pictures without a mask" in source.warnings[0] and "lonely.jpg" in source.warnings[0]


def test_a_mask_goes_where_its_picture_goes() -> None:
    """A picture of the numbers, scaled by whole numbers and padded, has the same numbers as the mask."""
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    fit = Fit(np.array([[2.0, 2.0]]), np.array([[1.0, 0.0]]), np.array([[3, 4]]), (6, 10))
    found = placed(numbers, fit, 0, (6, 10), "m")
    assert np.array_equal(found[:, 1:9], numbers.repeat(2, 0).repeat(2, 1))
    assert (found[:, [0, 9]] == IGNORED).all()


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("margin", [0, 2])
def test_masks_move_with_pictures(shift: int, margin: int) -> None:
    """Pictures whose pixels are class numbers: after the same shifts and mirror images they still are."""
    prepare = Prepare((10, 12), 3, margin=margin)
    numbers = torch.randint(0, 200, (16, *prepare.stored[1:]), dtype=torch.uint8)
    pictures = numbers[:, None].expand(-1, 3, -1, -1).contiguous()
    drawn = draw_warp(16, prepare, shift, True, torch.Generator().manual_seed(0))
    moved, seen = warp_masks(numbers, drawn), warp(pictures, drawn, prepare)[:, 0]
    inside = moved != IGNORED
    assert torch.equal(moved[inside], seen[inside])
    assert inside.all() == (shift == 0 or margin >= shift or margin == 2)
    assert moved.shape == (16, 10, 12)


def test_crops_show_the_part_of_the_mask_that_the_picture_shows() -> None:
    prepare = Prepare((24, 24), 3)
    rows = torch.arange(24, dtype=torch.uint8)[:, None].expand(24, 24)
    numbers = (rows // 6 * 40).repeat(8, 1, 1)
    drawn = draw_warp(8, prepare, 0, True, torch.Generator().manual_seed(1), area=0.3)
    seen = warp(numbers[:, None].expand(-1, 3, -1, -1).contiguous(), drawn, prepare)[:, 0]
    moved = warp_masks(numbers, drawn)
    # Between two bands a picture has a mixture and a mask has one or the other.
    assert ((moved.int() - seen.int()).abs() <= 20).float().mean() > 0.95
    assert (moved == seen).float().mean() > 0.7


def test_masks_become_smaller_with_the_pictures() -> None:
    drawn = Warp(torch.zeros(2).long(), torch.zeros(2).long(), torch.tensor([False, True]), (8, 8), scale=0.5)
    numbers = torch.arange(64, dtype=torch.uint8).view(1, 8, 8).repeat(2, 1, 1)
    found = warp_masks(numbers, drawn)
    assert found.shape == (2, 4, 4)
    assert torch.equal(found[0], numbers[0, 1::2, 1::2])
    assert torch.equal(found[1], numbers[1].flip(1)[1::2, 0::2])


def white_on_black(folder: Path, count: int = 3) -> Path:
    for name in range(count):
        picture(folder / "images" / f"{name}.jpg")
        mask(folder / "masks" / f"{name}.png", np.array([[0] * 4 + [255] * 4] * 6))
    (folder / "classes.txt").write_text("background\nperson\n")
    return folder


def test_white_is_no_class_and_training_on_one_class_is_refused(tmp_path: Path) -> None:
    source = open_data(white_on_black(tmp_path))
    with pytest.raises(
        BadData, match="the masks to learn from show background. In masks 255 is no class: where"
    ):
        facts(source)
    (tmp_path / "class_dict.csv").write_text("background,0,0,0\nperson,255,255,255\n")
    (tmp_path / "classes.txt").unlink()
    assert facts(open_data(tmp_path)) == {"classes": ["background", "person"], "frequencies": [0.5, 0.5]}


def test_a_class_that_is_nowhere_is_no_error_and_a_rare_one_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    white_on_black(tmp_path, 8)
    (tmp_path / "classes.txt").write_text("ground\ncrack\nhole\n")
    source = replace(source := open_data(tmp_path), splits={"train": source.splits["train"]})
    last = source.splits["train"].targets["mask"][-1]
    mask(last.file.path, np.array([[0] * 7 + [1]] * 6))
    monkeypatch.setattr("striate.tasks.segment.data.LOOKED_AT", 2)
    assert [share > 0 for share in facts(source)["frequencies"]] == [True, True, False]
    with pytest.raises(BadData, match="show no class at all"):
        facts(replace(source, splits={"train": blank(source.splits["train"])}))


def blank(split: Split) -> Split:
    return replace(split, targets={"mask": [np.full((6, 8), IGNORED, dtype=np.uint8)] * len(split)})


def test_folders_called_trainval(tmp_path: Path) -> None:
    for split in ("trainval", "test"):
        picture(tmp_path / split / "images" / "a.jpg")
        mask(tmp_path / split / "masks" / "a.png")
    assert open_data(tmp_path).splits.keys() == {"train", "test"}
    picture(tmp_path / "train" / "images" / "b.jpg")
    mask(tmp_path / "train" / "masks" / "b.png")
    assert [file.name for file in open_data(tmp_path).splits["train"].images] == ["train/images/b.jpg"]


def test_pixels_may_be_given_as_they_are() -> None:
    pixels = np.zeros((2, 2), dtype=np.uint8)
    assert pixels_of(pixels) is pixels
