"""Sets as other programs export them: odd paths, missing words, numbers that recur."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import open_data
from striate.data.readers import READERS
from striate.data.things import mirrored
from striate.errors import BadData


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (10, 20, 30)).save(path)


# COCO


def annotation(number: int, **more) -> dict:
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": [number, 0, 5, 5]} | more


def coco(file: Path, annotations: list[dict], picture: str = "a.jpg") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    joints = {"keypoints": ["nose"], "skeleton": []} if "keypoints" in file.name else {}
    whole = {
        "images": [{"id": 1, "file_name": picture, "width": 40, "height": 30}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"} | joints],
    }
    file.write_text(json.dumps(whole))


def test_two_pictures_of_one_number_are_named(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        picture(tmp_path / f"{name}.jpg")
        coco(tmp_path / f"part{number}_train.json", [annotation(1)], f"{name}.jpg")
    says = r"part1_train.json, images: number 1 is b.jpg here and a.jpg in .*part0_train.json"
    with pytest.raises(BadData, match=says):
        open_data(tmp_path)


def test_boxes_of_one_number_in_one_file_are_all_kept(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    coco(tmp_path / "val.json", [annotation(1), annotation(1, bbox=[9, 9, 5, 5])])
    assert open_data(tmp_path).splits["val"].targets["boxes"][0].tolist() == [[1, 0, 6, 5], [9, 9, 14, 14]]


def test_annotations_of_two_files_are_joined_where_they_agree(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    coco(tmp_path / "annotations" / "instances_val.json", [annotation(1), annotation(2)])
    people = [annotation(1, keypoints=[3, 4, 2]), annotation(2, bbox=[20, 9, 5, 5], keypoints=[5, 6, 2])]
    coco(tmp_path / "annotations" / "person_keypoints_val.json", people)
    found = open_data(tmp_path).splits["val"].targets
    assert found["boxes"][0].tolist() == [[1, 0, 6, 5], [2, 0, 7, 5], [20, 9, 25, 14]]
    assert found["keypoints"][0].tolist() == [[[3, 4, 2]], [[0, 0, 0]], [[5, 6, 2]]]


@pytest.mark.parametrize("names", [("trainval", "test"), ("train", "val", "trainval")])
def test_trainval_is_the_training_set_where_there_is_no_other(tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names, 1):
        picture(tmp_path / f"{name}.jpg")
        coco(tmp_path / f"pascal_{name}2012.json", [annotation(number)], f"{name}.jpg")
        (tmp_path / f"pascal_{name}2012.json").write_text(
            (tmp_path / f"pascal_{name}2012.json")
            .read_text()
            .replace('"image_id": 1', f'"image_id": {number}')
            .replace('"images": [{"id": 1', f'"images": [{{"id": {number}')
        )
    source = READERS["COCO"].read(tmp_path)
    assert list(source.splits) == (["train", "test"] if len(names) == 2 else ["train", "val"])
    assert [file.name for file in source.splits["train"].images] == [f"{names[0]}.jpg"]


def test_fields_that_are_null_are_fields_that_are_missing(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    empty = dict.fromkeys(("area", "segmentation", "keypoints", "iscrowd"))
    coco(tmp_path / "val.json", [annotation(1, **empty)])
    text = (tmp_path / "val.json").read_text().replace('"height": 30', '"height": null')
    text = text.replace('"name": "cat"', '"name": "cat", "keypoints": null')
    (tmp_path / "val.json").write_text(text, encoding="utf-8-sig")
    assert open_data(tmp_path).splits["val"].targets["area"][0].tolist() == [25]
    coco(tmp_path / "val.json", [annotation(1, area="large")])
    with pytest.raises(BadData, match=r"val.json, annotations\[0\], area: 'large' is no number"):
        open_data(tmp_path)


# YOLO


def test_a_test_split_of_which_nothing_is_said_is_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    coco(tmp_path / "annotations" / "instances_val.json", [annotation(1)])
    coco(tmp_path / "annotations" / "image_info_test.json", [], "not_here.jpg")
    source = open_data(tmp_path)
    assert list(source.splits) == ["val"] and "image_info_test.json: says nothing" in source.warnings[0]


def test_joints_without_sides_are_not_mirrored(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    file = tmp_path / "val.json"
    coco(file, [annotation(1, keypoints=[1, 1, 2, 5, 5, 2]), annotation(2, keypoints=[])])
    whole = json.loads(file.read_text())
    whole["categories"][0] |= {"keypoints": ["1", "2"]}
    file.write_text(json.dumps(whole))
    source = open_data(tmp_path)
    assert source.notes["mirror"] is False and "left or right" in source.warnings[-1]


@pytest.mark.parametrize(
    "given, kept",
    [
        ([1, 1, 9, 1, 9, 9], [[1, 1, 9, 1, 9, 9]]),
        ([[1, 1, 9, 9], [1, 1, 9, 1, 9, 9], [1, 1, 9, 1, 9, 9, 3]], [[1, 1, 9, 1, 9, 9]]),
    ],
)
def test_outlines_are_polygons(tmp_path: Path, given: list, kept: list) -> None:
    picture(tmp_path / "a.jpg")
    coco(tmp_path / "val.json", [annotation(1, segmentation=given)])
    assert open_data(tmp_path).splits["val"].targets["outlines"] == [[kept]]


def test_outlines_and_numbers_that_are_none_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    coco(tmp_path / "val.json", [annotation(1, segmentation=[[1, 1, 9, 1, 9, 9], 7])])
    with pytest.raises(BadData, match=r"annotations\[0\], segmentation: a polygon is"):
        open_data(tmp_path)
    file = tmp_path / "val.json"
    file.write_text(file.read_text().replace('{"id": 1, "file_name"', '{"id": "x1", "file_name"'))
    with pytest.raises(BadData, match="the id 'x1' is no whole number"):
        open_data(tmp_path)


def test_a_missing_picture_does_not_turn_the_rest_to_another_splits_folder(tmp_path: Path) -> None:
    for split, names in (("train", "ac"), ("val", "abc")):
        for name in names:
            picture(tmp_path / "images" / split / f"{name}.jpg")
        images = [
            {"id": i, "file_name": f"{n}.jpg", "width": 40, "height": 30} for i, n in enumerate("abc", 1)
        ]
        whole = {"images": images, "annotations": [annotation(1)], "categories": [{"id": 1, "name": "cat"}]}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{split}.json").write_text(json.dumps(whole))
    found = [file.path.parent.name for file in open_data(tmp_path).splits["train"].images]
    assert found == ["train", "val", "train"]


def yolo(folder: Path, settings: str, line: str = "0 0.5 0.5 0.5 0.2", train: str = "train") -> Path:
    for split in (train, "valid"):
        for name in ("a", "b"):
            picture(folder / split / "images" / f"{name}.jpg")
            (folder / split / "labels").mkdir(exist_ok=True)
            (folder / split / "labels" / f"{name}.txt").write_text(line)
    (folder / "data.yaml").write_text(f"names: [cat]\n{settings}")
    return folder


ROBOFLOW = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"


def test_paths_that_begin_one_folder_too_high(tmp_path: Path) -> None:
    source = open_data(yolo(tmp_path / "set", ROBOFLOW))
    assert list(source.splits) == ["train", "val"] and len(source.splits["val"].targets["boxes"][0]) == 1
    assert "data.yaml, test: " in source.warnings[0] and "the split is left out" in source.warnings[0]
    with pytest.raises(BadData, match="data.yaml, val: .* is neither a folder nor a list"):
        open_data(yolo(tmp_path / "other", ROBOFLOW.replace("valid", "gone")))


def test_joints_of_which_nobody_says_how_they_change_places(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.5 0.2 0.4 0.4 2 0.6 0.6 2"
    source = open_data(yolo(tmp_path / "a", ROBOFLOW + "kpt_shape: [2, 3]\n", line))
    assert source.notes["mirror"] is False
    assert "data.yaml: without flip_idx it is not known which joints" in source.warnings[0]
    known = open_data(yolo(tmp_path / "b", ROBOFLOW + "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n", line))
    assert "mirror" not in known.notes and known.notes["mirrored"] == [1, 0]
    for wrong in ("[0]", "[1, 1]", "[1, 2]", "[x, 0]", "10"):
        yolo(tmp_path / "c", ROBOFLOW + f"kpt_shape: [2, 3]\nflip_idx: {wrong}\n", line)
        with pytest.raises(
            BadData, match="data.yaml, flip_idx: .* does not name each joint from 0 to 1 once"
        ):
            open_data(tmp_path / "c")


def test_left_and_right_are_found_in_every_spelling() -> None:
    assert mirrored(["leftEye", "rightEye", "LShoulder", "RShoulder", "hipL", "hipR"]) == [1, 0, 3, 2, 5, 4]
    assert mirrored(["LEFT_EYE", "RIGHT_EYE", "neck", "Left", "Right", "lip"]) == [1, 0, 2, 4, 3, 5]
    assert mirrored(["lefteye", "righteye", "Lshoulder", "Rshoulder", "L1", "R1"]) == [1, 0, 3, 2, 5, 4]


def test_folders_called_trainval(tmp_path: Path) -> None:
    for split in ("trainval", "test"):
        picture(tmp_path / "images" / split / "a.jpg")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.5 0.2")
    assert READERS["YOLO"].read(tmp_path).splits.keys() == {"train", "test"}
    picture(tmp_path / "images" / "train" / "b.jpg")
    found = READERS["YOLO"].read(tmp_path).splits
    assert [file.name for file in found["train"].images] == ["images/train/b.jpg"]


# Pascal VOC


def voc(folder: Path, **lists: list[str]) -> Path:
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for name, stems in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            picture(folder / "JPEGImages" / f"{stem.removesuffix('  1')}.jpg")
            (folder / "Annotations" / f"{stem.removesuffix('  1')}.xml").write_text(
                "<annotation><size><width>40</width><height>30</height></size></annotation>"
            )
    return folder


def test_names_with_spaces_and_lists_of_one_class(tmp_path: Path) -> None:
    source = open_data(voc(tmp_path, train=["my cat", "frame 1", "dog  1"], val=["b"]))
    names = [Path(file.name).stem for file in source.splits["train"].images]
    assert names == ["my cat", "frame 1", "dog"]


def test_trainval_of_voc_counts_only_without_train(tmp_path: Path) -> None:
    source = open_data(voc(tmp_path / "a", train=["a"], val=["b"], trainval=["a", "b"]))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 1, "val": 1}
    source = open_data(voc(tmp_path / "b", trainval=["a", "b"], test=["c"]))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 2, "test": 1}
    assert np.array_equal(source.splits["train"].targets["image_id"], [1, 2])


def test_yolos_folders_without_labels_for_test(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        picture(tmp_path / "images" / split / "a.jpg")
        (tmp_path / "labels" / split).mkdir(parents=True)
        if split != "test":
            (tmp_path / "labels" / split / "a.txt").write_text("0 0.5 0.5 0.5 0.2")
    source = open_data(tmp_path)
    assert set(source.splits) == {"train", "val"} and "no picture has a label file" in source.warnings[-1]


def test_files_that_macos_leaves_behind_are_no_annotations(tmp_path: Path) -> None:
    root = voc(tmp_path / "set", train=["a"], test=["b"])
    for folder, name in (("Annotations", "._a.xml"), ("JPEGImages", "._a.jpg")):
        (root / folder / name).write_bytes(b"left behind")
    (root / "ImageSets" / "Main" / "train.txt").unlink()
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    assert sum(map(len, open_data(root).splits.values())) == 2
