"""What newcomers type: one line that says what is meant, and exit code 2; 130 where a training is stopped."""

import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from striate import trace, verbs
from striate.errors import BadSetting, Interrupted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "pictures"], "pictures is no application: to train on it say --data pictures"),
        (["train", "clasify", "--data", "digits"], "did you mean classify?"),
        (["train", "--resume"], "say which run to go on with: --out and its folder"),
        (["train", "--data", "digits", "--net", "resnet2O"], "did you mean resnet20?"),
        (
            ["train", "--data", "pictures"],
            "pictures: holds no pictures: give a folder with a folder",
        ),
        (["train", "classify", "--data", "scenes"], "a class for every picture, and these have: boxes"),
        (["train", "--data", "digits", "--seed", "-1"], "seed -1: it is a whole number from 0 on"),
        (["train", "--data", "digits", "--seed", "9" * 20], "it is a whole number from 0 on, below 2^63"),
        (
            ["train", "conv5-16, relu, " * 20 + "softmax10", "--data", "digits"],
            "is not known: There are classify",
        ),
        (["describe", "resnet20", "--memory", "inf"], "memory must be a number of GB above 0, not inf"),
        (["data", "digits", "--to", "coco", "a", "--fix", "b"], "leave --fix and --mosaic away"),
        (["train", "--data", "digits", "--size", "0"], "size 0: it is a whole number from 1 on"),
        (["train", "pose", "--data", "scenes", "--set", "tta=yes"], "tta: pose has no such way to answer"),
    ],
)
def test_mistakes_are_understood(striate, tmp_path, arguments, said):
    (tmp_path / "pictures").mkdir()
    done = striate(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_a_stopped_training_ends_every_command_with_130(striate, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise Interrupted("stopped at step 3 of 9; go on with: striate train --resume --out x")

    monkeypatch.setattr(verbs, "train", stopped)
    done = striate("train", "--data", "digits", cwd=tmp_path)
    assert done.returncode == 130 and "go on with: striate train --resume --out x" in done.stderr


def test_a_name_is_no_network_to_trace():
    with pytest.raises(BadSetting, match=r"striate.network\('resnet20'\) makes it"):
        trace("resnet20", (3, 32, 32))  # ty: ignore[invalid-argument-type]


def test_what_predict_cannot_read_is_said(striate, tmp_path, monkeypatch):
    run = verbs.train(
        "classify",
        data="digits",
        net="fc8, relu, softmax10",
        changes={"epochs": 1},
        out=tmp_path / "run",
        progress=False,
    )
    (tmp_path / "no.zip").write_text("no zip")
    done = striate("predict", run.path, "no.zip", cwd=tmp_path)
    assert done.returncode == 2 and "no.zip: cannot be read as a zip" in done.stderr
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    done = striate("predict", run.path, "-", cwd=tmp_path)
    assert done.returncode == 2 and "standard input names no picture" in done.stderr
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    done = striate("predict", run.path, "a.png", "--csv", "a.csv", "--out", "drawn", cwd=tmp_path)
    assert done.returncode == 0 and "a.csv  1 picture\ndrawn in drawn\n" in done.stderr
    done = striate("predict", run.path, "a.png", "--csv", "new/a.csv", "--out", "drawn", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "new/a.csv").is_file()
    assert {file.name for file in (tmp_path / "drawn").iterdir()} == {"a.png", "a-2.png"}
    done = striate("predict", run.path, "clip.mp4", "a.png", "mistyped.png", cwd=tmp_path)
    assert done.returncode == 2 and "mistyped.png" in done.stderr and not done.stdout
    (tmp_path / "clip.mp4").write_bytes(b"film")
    done = striate("predict", run.path, "clip.mp4", "--csv", "a.csv", cwd=tmp_path)
    assert done.returncode == 2 and "--csv: clip.mp4 is a film" in done.stderr


def test_a_loss_that_is_no_number_is_not_learned(striate, tmp_path, monkeypatch):
    monkeypatch.setattr("striate.experiment.trial_run", lambda *_: (2.3, float("nan"), 200))
    done = striate("train", "--data", "digits", "--net", "fc10", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2 and "the loss on one batch went only from 2.300 to nan" in done.stderr


def test_a_run_says_that_it_is_its_own_data_that_is_not_there(striate, tmp_path):
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(5):
            Image.linear_gradient("L").rotate(20 * i + 90 * (name == "b")).save(
                tmp_path / f"data/{name}/{i}.png"
            )
    trained = ["train", "--data", "data", "--net", "fc4, relu, softmax10", "--size", "16", "--epochs", "1"]
    done = striate(*trained, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0 and "the last layer has 2 outputs" in done.stderr
    Image.new("L", (16, 16)).save(tmp_path / "data/a/new.png")
    done = striate("evaluate", "run", cwd=tmp_path)
    said = "its pictures have changed since the training (train 8 then, 9 now, val 2 then, others now): val, "
    assert done.returncode == 2 and said in done.stderr
    done = striate("train", "--resume", "--out", "run", "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 2 and "train a new run on them, without --resume" in done.stderr
    (tmp_path / "elsewhere").mkdir()
    done = striate("evaluate", tmp_path / "run", cwd=tmp_path / "elsewhere")
    assert done.returncode == 2 and "(the run learned from it: --data says where it is now)" in done.stderr


def test_names_that_are_not_utf8_are_learned_and_said(striate, tmp_path):
    """As an archive of another system leaves them: bytes that no terminal shows."""
    odd = os.fsdecode(b"caf\xe9")
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(5):
            Image.linear_gradient("L").rotate(20 * i + 90 * (name == "b")).save(
                tmp_path / "data" / name / f"{odd}{i}.png"
            )
    trained = ["train", "--data", "data", "--net", "fc4, relu, softmax10", "--size", "16", "--epochs", "1"]
    assert striate(*trained, "--out", "run", cwd=tmp_path).returncode == 0
    done = striate("predict", "run", "data", "--json", cwd=tmp_path)
    assert {json.loads(done.stdout)["predictions"][i]["file"] for i in range(5)} == {
        str(Path("data", "a", f"{odd}{i}.png")) for i in range(5)
    }
    done = striate("predict", "run", "data", "--csv", "out.csv", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "out.csv").read_bytes().count(b"caf\xe9") == 10
