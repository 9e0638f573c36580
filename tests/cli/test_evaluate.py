"""`striate evaluate` on a trained detector: answers explained, and what it refuses to explain or write."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import striate
from striate.cli import app
from striate.differences import explain
from striate.errors import BadSetting, StriateError
from striate.tasks import TASKS


def coco(folder: Path) -> Path:
    """A small set on disk: one bright square a picture."""
    rng = np.random.default_rng(1)
    (folder / "annotations").mkdir(parents=True)
    for split, n in {"train": 16, "val": 6}.items():
        (folder / split).mkdir()
        images, annotations = [], []
        for i in range(n):
            pixels = rng.integers(60, 120, (32, 32, 3)).astype(np.uint8)
            x, y = rng.integers(2, 14, 2).tolist()
            pixels[y : y + 14, x : x + 14] = 250
            Image.fromarray(pixels).save(folder / split / f"{i:02}.png")
            images.append({"id": i + 7, "file_name": f"{i:02}.png", "width": 32, "height": 32})
            one = {"id": i + 1, "image_id": i + 7, "category_id": 4, "iscrowd": 0, "area": 196}
            annotations.append(one | {"bbox": [x, y, 14, 14]})
        whole = {"images": images, "annotations": annotations, "categories": [{"id": 4, "name": "square"}]}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> striate.Run:
    folder = tmp_path_factory.mktemp("differences")
    return striate.train(
        "detect", data=coco(folder / "squares"), epochs=6, batch=4, seed=1, out=folder / "run",
        progress=False, changes={"evaluate": 6, "area": 1.0},
    )  # fmt: skip


def test_the_command_explains_a_run(command_line, trained: striate.Run, tmp_path: Path) -> None:
    figures, entries = trained.results()
    file = tmp_path / "theirs.json"
    whole = [one | {"bbox": [round(v) for v in one["bbox"]]} for one in entries if one["score"] > 0.02]
    file.write_text(json.dumps(whole))
    found = explain(trained, file)
    assert found["ours"]["map"] == pytest.approx(figures["map"], abs=1e-9) and found["split"] == "val"
    command = ["evaluate", trained.path, "--explain"]
    done = command_line(*command, file, "--reported", "0.3", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["difference"] == pytest.approx(found["difference"], abs=1e-6) and said["reported"] == 0.3
    assert {"ours", "theirs", "causes", "blame", "rules", "nearest"} <= set(said)
    assert all(set(one) == {"cause", "change", "share", "pictures"} for one in said["causes"])
    assert all(one["file"] == f"{one['image_id'] - 7:02}.png" for one in said["blame"])
    done = command_line(*command, "none.json", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "none.json" in done.stderr


def test_what_cannot_be_explained_or_written_is_refused(trained: striate.Run, tmp_path: Path) -> None:
    (tmp_path / "theirs.json").write_text("[]")
    with pytest.raises(BadSetting, match="from 0 to 1"):
        explain(trained, tmp_path / "theirs.json", reported=37.2)
    with pytest.raises(StriateError, match="classify are not counted by average precision"):
        explain(replace(trained, task=TASKS["classify"]), tmp_path / "theirs.json")
    done = CliRunner().invoke(app, ["evaluate", str(trained.path), "--reported", "0.3"])
    assert isinstance(done.exception, BadSetting) and "--explain FILE" in str(done.exception)
    answers = str(tmp_path / "answers.json")
    done = CliRunner().invoke(app, ["evaluate", str(trained.path), "--results", answers, "--tta"])
    assert isinstance(done.exception, BadSetting) and "plain answers" in str(done.exception)
