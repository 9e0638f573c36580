"""Detection from files to a run: trained, loaded, judged as COCO's own program does, in any format."""

import contextlib
import io
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from drawn import scene
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import striate
from striate.data import open_data


def coco(folder: Path) -> Path:
    """A small set on disk, as COCO writes it."""
    rng = np.random.default_rng(1)
    for split, n in {"train": 40, "val": 4}.items():
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(n):
            pixels, found = scene(rng)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / split / f"{i:02}.png")
            images.append({"id": i, "file_name": f"{i:02}.png", "width": 64, "height": 64})
            for thing in found:
                x1, y1, x2, y2 = thing.box
                one = {"id": len(annotations) + 1, "image_id": i, "category_id": thing.label + 1}
                one |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                annotations.append(one | {"segmentation": thing.outline})
        categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> striate.Run:
    folder = tmp_path_factory.mktemp("detect")
    data = coco(folder / "shapes")
    return striate.train(
        "detect", data=data, epochs=8, batch=4, seed=1, out=folder / "run", progress=False,
        changes={"evaluate": 8, "area": 1.0, "shift": 4},
    )  # fmt: skip


def test_it_learns_from_files_to_a_run(command_line, trained: striate.Run, tmp_path: Path) -> None:
    assert trained.figures["map50"] > 0.6 and trained.info["network"]["net"] == "resnet10-half"
    again = striate.load(trained.path)
    figures = again.evaluate()
    assert figures["map"] == pytest.approx(trained.figures["map"], abs=1e-3)
    assert set(figures["per_class"]) == {"red", "blue"} and len(figures["confusion"]) == 3
    report = (trained.path / "report.html").read_text()
    assert all(title in report for title in ("Precision and recall", "Confusions", "Examples"))
    picture = Path(trained.info["data"]["source"]) / "val" / "00.png"
    done = command_line("predict", trained.path, picture, "--json", "--out", "drawn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["predictions"]
    assert {thing["class"] for thing in answer["things"]} <= {"red", "blue"} and answer["size"] == [64, 64]
    assert (tmp_path / "drawn" / "00.png").is_file()
    done = command_line("evaluate", trained.path, cwd=tmp_path)
    assert done.returncode == 0 and "map50" in done.stdout and "ap50" in done.stdout


def test_a_streamed_set_is_trained_on_to_the_end(tmp_path: Path) -> None:
    """Its batches have room for their own fullest picture: one here has three things, others two."""
    data = coco(tmp_path / "shapes")
    file = data / "annotations" / "instances_val.json"
    whole = json.loads(file.read_text())
    whole["annotations"].append(whole["annotations"][0] | {"id": 99, "bbox": [1, 1, 9, 9]})
    file.write_text(json.dumps(whole))
    with patch("striate.training.evaluate.EVALUATION_PIXELS", 2 * 32 * 32):
        run = striate.train(
            "detect", data=data, epochs=1, batch=4, size=32, stream=True, out=tmp_path / "run", progress=False
        )
    assert run.figures["images"] == 4 and (run.path / "report.html").is_file()


def test_pictures_with_nothing_to_find_have_no_headline(command_line, tmp_path: Path) -> None:
    data = coco(tmp_path / "shapes")
    file = data / "annotations" / "instances_val.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    command = ["train", "detect", "--data", data, "--epochs", "1", "--size", "32", "--out", "run"]
    done = command_line(*command, cwd=tmp_path)
    assert done.returncode == 0 and "no map on val" in done.stdout, done.stderr


def test_results_are_judged_alike_by_cocos_own_program(
    command_line, trained: striate.Run, tmp_path: Path
) -> None:
    done = command_line("evaluate", trained.path, "--results", "results.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(Path(trained.info["data"]["source"]) / "annotations" / "instances_val.json")
        theirs = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    for name, value in zip(("map", "map50", "map75", "map_small"), theirs.stats, strict=False):
        assert figures[name] == pytest.approx(value, abs=1e-6)


def test_the_format_of_the_files_makes_no_difference(command_line, tmp_path: Path) -> None:
    data = coco(tmp_path / "shapes")
    done = command_line("data", data, "--to", "yolo", "yolo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = open_data(data), open_data(tmp_path / "yolo")
    assert before.classes == after.classes and before.splits.keys() == after.splits.keys()
    for split, ours in before.splits.items():
        theirs = after.splits[split]
        assert len(ours) == len(theirs) == {"train": 40, "val": 4}[split]
        for one, other in zip(ours.images, theirs.images, strict=True):
            assert one.path.read_bytes() == other.path.read_bytes()
        for field in ("boxes", "area", "outlines"):
            for one, other in zip(ours.targets[field], theirs.targets[field], strict=True):
                np.testing.assert_allclose(one, other, atol=1e-3)
        for field in ("labels", "crowd"):
            for one, other in zip(ours.targets[field], theirs.targets[field], strict=True):
                assert one.tolist() == other.tolist()
