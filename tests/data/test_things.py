"""Boxes, outlines, joints: every format is read, wrong ones refused by name, converters keep all they can."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy.io import savemat

from striate.data import open_data
from striate.data.convert import convert
from striate.data.gallery import drawn, gallery
from striate.data.rle import decode
from striate.data.source import Source
from striate.data.things import checked_box, mirrored
from striate.errors import BadData


def picture(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


ANNOTATION = {
    "id": 7,
    "image_id": 3,
    "category_id": 5,
    "bbox": [2, 3, 10, 12],
    "area": 60.5,
    "iscrowd": 0,
    "segmentation": [[2, 3, 12, 3, 12, 15]],
    "keypoints": [4, 5, 2, 6, 7, 1, 0, 0, 0],
}


def coco(folder: Path, **changes) -> Path:
    """A set of three pictures in COCO's JSON, with the first annotation changed."""
    for name in "abc":
        picture(folder / "images" / f"{name}.jpg")
    images = [
        {"id": number, "file_name": f"{name}.jpg", "width": 40, "height": 30}
        for number, name in zip((9, 3, 4), "abc", strict=True)
    ]
    joints = ["left_hand", "right_hand", "nose"]
    whole = {
        "images": images,
        "annotations": [
            ANNOTATION | changes,
            {"id": 8, "image_id": 4, "category_id": 2, "bbox": [0, 0, 40, 30], "iscrowd": 1},
        ],
        "categories": [
            {"id": 5, "name": "person", "keypoints": joints, "skeleton": [[1, 3], [2, 3]]},
            {"id": 2, "name": "cat"},
        ],
    }
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(whole))
    return folder


def all_of(source: Source, field: str) -> list:
    """A raw target of every picture of every split, by the picture's name; without one, None a thing."""
    pairs = [
        (
            Path(split.name(i)).name,
            split.targets[field][i] if field in split.targets else [None] * len(split.targets["boxes"][i]),
        )
        for split in source.splits.values()
        for i in range(len(split))
    ]
    return [value for _, value in sorted(pairs, key=lambda pair: pair[0])]


def test_coco_is_read_whole(tmp_path: Path) -> None:
    source = open_data(coco(tmp_path / "set"))
    assert source.format == "COCO JSON" and source.classes == ("cat", "person")
    a, b, c = all_of(source, "boxes")
    assert a.shape == (0, 4) and b.tolist() == [[2, 3, 12, 15]] and c.tolist() == [[0, 0, 40, 30]]
    assert [x.tolist() for x in all_of(source, "labels")] == [[], [1], [0]]
    assert [x.tolist() for x in all_of(source, "crowd")] == [[], [False], [True]]
    assert [x.tolist() for x in all_of(source, "area")] == [[], [60.5], [1200]]
    assert all_of(source, "outlines")[1] == [[[2, 3, 12, 3, 12, 15]]]
    assert all_of(source, "keypoints")[1].tolist() == [[[4, 5, 2], [6, 7, 1], [0, 0, 0]]]
    assert not all_of(source, "keypoints")[2].any()
    assert source.notes["mirrored"] == [1, 0, 2] and source.notes["bones"] == [[0, 2], [1, 2]]
    assert source.notes["category_ids"] == [2, 5] and all_of(source, "image_id") == [9, 3, 4]


def test_files_of_one_split_are_joined(tmp_path: Path) -> None:
    folder = coco(tmp_path)
    file = folder / "annotations" / "instances_train.json"
    whole = json.loads(file.read_text())
    sentences = [{"id": 1, "image_id": 3, "caption": "a person "}, {"id": 2, "image_id": 3, "caption": "b"}]
    (folder / "annotations" / "captions_train.json").write_text(
        json.dumps({"images": whole["images"], "annotations": sentences})
    )
    source = open_data(folder)
    assert all_of(source, "captions") == [[], ["a person", "b"], []]
    assert len(all_of(source, "boxes")[1]) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"bbox": [2, 3, 60, 12]},
            r"annotations\[0\], bbox: the box 2, 3, 62, 15 lies outside its picture of 40×30",
        ),
        ({"bbox": [2, 3, -4, 12]}, "ends before it begins"),
        ({"bbox": [2, 3, 4]}, r"bbox: \[2, 3, 4\] is not \[x, y, width, height\]"),
        ({"category_id": 6}, r"annotations\[0\], category_id: 6 is in no list of categories"),
        ({"keypoints": [1, 2, 2]}, r"keypoints: 3 numbers; 3 joints have 9"),
        ({"image_id": 77}, "image_id: there is no picture 77"),
    ],
)
def test_what_is_wrong_in_coco_is_named(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(BadData, match="instances_train.json.*" + says):
        open_data(coco(tmp_path, **changes))


def test_a_picture_that_is_nowhere_is_named(tmp_path: Path) -> None:
    folder = coco(tmp_path)
    (folder / "images" / "b.jpg").unlink()
    with pytest.raises(BadData, match="picture b.jpg is nowhere to be found; looked in"):
        open_data(folder)


def test_the_commonest_slip_of_converters_is_mended_and_said(tmp_path: Path) -> None:
    names = ["person", *(f"thing {n}" for n in range(2, 80)), "toothbrush"]
    picture(tmp_path / "a.jpg")
    boxes = [
        {"id": n, "image_id": 1, "category_id": k, "bbox": [0, 0, 5, 5]} for n, k in enumerate((2, 91, 14))
    ]
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": boxes,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
    }
    (tmp_path / "val.json").write_text(json.dumps(whole))
    source = open_data(tmp_path / "val.json")
    assert [source.classes[k] for k in source.splits["val"].targets["labels"][0]] == [
        "person",
        "toothbrush",
        "thing 12",
    ]
    assert "COCO's own numbers from 1 to 90 plus one: read as those" in source.warnings[0]


def voc(folder: Path, thing: str = "") -> Path:
    thing = thing or "<xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>30</ymax>"
    for name in ("a", "b"):
        picture(folder / "JPEGImages" / f"{name}.jpg")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(
        "<annotation><size><width>40</width><height>30</height><depth>3</depth></size>"
        f"<object><name>dog</name><difficult>1</difficult><bndbox>{thing}</bndbox></object>"
        "<object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"
        "</annotation>"
    )
    (folder / "Annotations" / "b.xml").write_text(
        "<annotation><size><width>40</width><height>30</height></size></annotation>"
    )
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a 1\n")
    (folder / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    return folder


def test_voc_counts_from_one_and_ends_on_the_last_pixel(tmp_path: Path) -> None:
    source = open_data(voc(tmp_path))
    assert source.format == "Pascal VOC" and list(source.splits) == ["train", "val"]
    assert source.classes == ("dog",)  # the cat has no area
    assert source.splits["train"].targets["boxes"][0].tolist() == [[0, 1, 10, 30]]
    assert source.splits["train"].targets["crowd"][0].tolist() == [True]
    assert source.splits["val"].targets["boxes"][0].shape == (0, 4)
    assert "object 2, bndbox: cat has no area and is left out" in source.warnings[0]


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (
            "<xmin>1</xmin><ymin>2</ymin><xmax>50</xmax><ymax>30</ymax>",
            "a.xml, object 1, bndbox: the box 0, 1, 50, 30",
        ),
        (
            "<xmin>one</xmin><ymin>2</ymin><xmax>9</xmax><ymax>30</ymax>",
            "object 1, bndbox/xmin: 'one' is no number",
        ),
        ("<ymin>2</ymin><xmax>9</xmax><ymax>30</ymax>", "object 1, bndbox/xmin: None is no number"),
    ],
)
def test_what_is_wrong_in_voc_is_named(tmp_path: Path, thing: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        open_data(voc(tmp_path, thing))


def test_a_class_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    (voc(tmp_path) / "classes.txt").write_text("cat\n")
    with pytest.raises(BadData, match="called 'dog', which classes.txt does not list"):
        open_data(tmp_path)


def yolo(folder: Path, lines: str, extra: str = "") -> Path:
    for name in ("a", "b"):
        picture(folder / "images" / "train" / f"{name}.jpg")
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text(lines)
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames: [cat, dog]\n{extra}")
    return folder


def test_yolo_boxes_polygons_and_joints(tmp_path: Path) -> None:
    source = open_data(yolo(tmp_path / "boxes", "1 0.5 0.5 0.5 0.2\n\n0 0.25 0.5 0.75 0.5 0.5 1.0\n"))
    boxes = next(box for box in all_of(source, "boxes") if len(box))
    assert source.format == "YOLO" and source.classes == ("cat", "dog")
    assert boxes.tolist() == [[10, 12, 30, 18], [10, 15, 30, 30]]
    outline = next(one for one in all_of(source, "outlines") if one)
    assert outline == [None, [[10, 15, 30, 15, 20, 30]]]
    assert sorted(len(box) for box in all_of(source, "boxes")) == [0, 2]
    source = open_data(
        yolo(tmp_path / "joints", "0 0.5 0.5 1 1 0.25 0.5 2 0 0 0\n", "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n")
    )
    joints = next(one for one in all_of(source, "keypoints") if len(one))
    assert joints.tolist() == [[[10, 15, 2], [0, 0, 0]]] and source.notes["mirrored"] == [1, 0]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("1 0.5 0.5 0.5 0.2\n2 0.5 0.5 0.5 0.2", "a.txt, line 2, class: 2, but the YAML names 2 classes"),
        ("0 0.5 0.5 0.5", "a.txt, line 1: 3 numbers after the class; a box has 4"),
        ("0 0.9 0.5 0.5 0.2", "a.txt, line 1: the box 26, 12, 46, 18 lies outside its picture of 40×30"),
        ("cat 0.9 0.5 0.5 0.2", "a.txt, line 1: 'cat 0.9 0.5 0.5 0.2' is not a class number"),
    ],
)
def test_what_is_wrong_in_yolo_is_named(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        open_data(yolo(tmp_path, lines))


def test_a_yaml_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "")
    (folder / "data.yaml").write_text("names: [cat\ntrain: images/train")
    with pytest.raises(BadData, match="data.yaml: cannot be read as YAML"):
        open_data(folder)
    (folder / "data.yaml").write_text("names: {0: cat, 2: dog}\ntrain: images/train")
    with pytest.raises(BadData, match="data.yaml, names: must be numbered from 0 without a gap"):
        open_data(folder)


def test_nothing_in_a_yaml_is_executed(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "")
    (folder / "data.yaml").write_text(
        f"train: images/train\nnames: !!python/object/apply:os.mkdir ['{tmp_path}/x']"
    )
    with pytest.raises(BadData, match="cannot be read as YAML"):
        open_data(folder)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("shape", [(14, 3, 4), (3, 14, 4)])
def test_lsp_in_both_arrangements(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    joints = np.ones((4, 14, 3), dtype=np.float64) * np.array([10.0, 20.0, 1.0])
    joints[:, 0] = (2, 5, 0)
    for number in range(4):
        picture(tmp_path / "images" / f"im{number:04d}.jpg")
    savemat(
        tmp_path / "joints.mat",
        {"joints": joints.transpose(1, 2, 0) if shape[0] == 14 else joints.transpose(2, 1, 0)},
    )
    source = open_data(tmp_path)
    found = source.splits["train"].targets["keypoints"][0][0]
    # The extended set says what is labelled, the set of 2010 what is covered.
    assert found[:2, 2].tolist() == ([0, 2] if shape[0] == 14 else [2, 1])
    assert found[1, :2].tolist() == [10, 20]
    assert source.notes["mirrored"][:6] == [5, 4, 3, 2, 1, 0]
    picture(tmp_path / "images" / "im0009.jpg")
    with pytest.raises(BadData, match="joints of 4 people for 5 pictures"):
        open_data(tmp_path)


def test_left_and_right_are_found_by_name() -> None:
    assert mirrored(["nose", "left_eye", "right_eye", "left", "l.hip", "R.hip"]) == [0, 2, 1, 3, 5, 4]


def test_boxes_a_little_over_the_edge_are_cut_and_flat_ones_dropped() -> None:
    assert checked_box((-1.5, 0, 41, 10), (30, 40), "x") == (0, 0, 40, 10)
    assert checked_box((5, 5, 5, 9), (30, 40), "x") is None


def fields(source: Source) -> dict[str, list]:
    return {
        f: [np.asarray(v).tolist() for v in all_of(source, f)]
        for f in ("boxes", "labels", "crowd", "keypoints")
    }


def test_coco_becomes_coco_without_loss_and_pycocotools_reads_it(tmp_path: Path) -> None:
    source = open_data(coco(tmp_path / "set"))
    assert not +convert(source, "coco", tmp_path / "again")
    again = open_data(tmp_path / "again")
    assert again.classes == source.classes and again.notes == source.notes
    assert fields(again) == fields(source)
    assert all_of(again, "outlines") == all_of(source, "outlines")
    theirs = COCO(str(tmp_path / "again" / "annotations" / "instances_train.json"))
    assert len(theirs.getAnnIds()) == sum(len(b) for b in source.splits["train"].targets["boxes"])


def test_there_and_back_through_yolo_and_voc(tmp_path: Path) -> None:
    source = open_data(yolo(tmp_path / "set", "1 0.5 0.5 0.5 0.2\n0 0.25 0.5 0.75 0.5 0.5 1.0\n"))
    for middle in ("yolo", "coco"):
        convert(source, middle, tmp_path / middle)
        again = open_data(tmp_path / middle)
        for field in ("boxes", "labels"):
            for one, other in zip(all_of(source, field), all_of(again, field), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-4)
        assert all_of(again, "outlines") == all_of(source, "outlines")
    lost = convert(source, "voc", tmp_path / "voc")
    assert lost["outlines"] == 1 and not lost["boxes that were not of whole pixels, rounded"]
    again = open_data(tmp_path / "voc")
    assert again.classes == source.classes
    assert [b.tolist() for b in all_of(again, "boxes")] == [b.tolist() for b in all_of(source, "boxes")]


def test_what_a_format_has_no_words_for_is_counted(tmp_path: Path) -> None:
    source = open_data(coco(tmp_path / "set", segmentation={"size": [30, 40], "counts": [1200]}))
    lost = convert(source, "yolo", tmp_path / "yolo")
    assert lost["crowds and difficult things, which YOLO has not"] == 1
    with pytest.raises(BadData, match="holds something already"):
        convert(source, "yolo", tmp_path / "yolo")
    with pytest.raises(BadData, match="has no boxes to convert"):
        convert(open_data("digits"), "coco", tmp_path / "x")


def test_scenes_know_everything_about_themselves_and_are_always_the_same() -> None:
    source, again = open_data("scenes"), open_data("scenes", seed=5)
    train = source.splits["train"]
    assert np.array_equal(train.images, again.splits["train"].images)
    fields = {"boxes", "labels", "keypoints", "mask", "captions", "crowd", "area", "outlines", "image_id"}
    assert fields == set(train.targets)
    for i in range(0, 200, 7):
        boxes, labels = train.targets["boxes"][i], train.targets["labels"][i]
        assert len(train.targets["captions"][i]) == 5
        for box, label, where in zip(boxes, labels, map(decode, train.targets["outlines"][i]), strict=True):
            rows, columns = np.nonzero(where)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (train.targets["mask"][i][where] == label + 1).all()
        for points, label in zip(train.targets["keypoints"][i], labels, strict=True):
            assert (points[:, 2] > 0).all() == (label == source.classes.index("person"))


def test_a_picture_is_looked_for_in_the_folder_of_its_split_first(tmp_path: Path) -> None:
    folder = coco(tmp_path)
    both = json.loads((folder / "annotations" / "instances_train.json").read_text())
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(both))
    for split in ("train", "val"):
        (folder / "images" / split).mkdir()
    for image in both["images"]:
        picture = next((folder / "images").rglob(image["file_name"]))
        for split in ("train", "val"):
            (folder / "images" / split / image["file_name"]).write_bytes(picture.read_bytes())
    found = open_data(folder)
    for name, split in found.splits.items():
        assert {file.path.parent.name for file in split.images} == {name}


def test_a_gallery_shows_the_truth(tmp_path: Path) -> None:
    source = open_data(coco(tmp_path))
    split = source.splits["train"]
    i = next(i for i in range(len(split)) if len(split.targets["boxes"][i]))
    image = np.asarray(drawn(source, split, i))
    assert image.shape == (240, 320, 3) and (image != (10, 20, 30)).any(axis=2).sum() > 300
    assert gallery(source).width > 1000
