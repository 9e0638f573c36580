"""A run folder is the whole model: it opens elsewhere, answers the same, and is refused when damaged."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import striate as st
from striate import settings
from striate.cli import app
from striate.data.prepare import Prepare
from striate.errors import BadData, BadRun, BadSetting
from striate.experiment import _decided
from striate.training.recipes import RECIPES

NET = "conv3-16 pad1, batchnorm, relu, pool2, softmax10"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> st.Run:
    folder = tmp_path_factory.mktemp("run") / "digits"
    return st.train("classify", data="digits", net=NET, epochs=6, batch=64, out=folder, progress=False)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    from sklearn.datasets import load_digits

    path = tmp_path / "three.png"
    Image.fromarray((load_digits().images[3] * 15).astype(np.uint8)).save(path)
    return path


def test_the_folder_holds_what_it_promises(run: st.Run) -> None:
    names = {p.name for p in run.path.iterdir()}
    assert {
        "model.safetensors",
        "model.json",
        "metrics.jsonl",
        "report.html",
        "report",
        "checkpoint",
    } <= names
    info = json.loads((run.path / "model.json").read_text())
    assert info["facts"]["classes"] == list("0123456789")
    assert info["figures"]["accuracy"] > 0.9 and info["figures"]["split"] == "val"
    assert info["seed"] == 0 and info["recipe"]["epochs"] == 6
    assert set(info["versions"]) == {"striate", "torch", "python"}
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 6


def test_it_opens_elsewhere_and_answers_the_same(run: st.Run, tmp_path: Path, three: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(run.path / name, moved)
    again = st.load(moved)
    assert again.evaluate("digits")["accuracy"] == run.figures["accuracy"]
    assert again.predict(three)[0] == run.predict(str(three))[0]


def test_predict_takes_what_people_have(run: st.Run, three: Path) -> None:
    folder = three.parent
    for given in (three, str(three), folder, str(folder / "*.png"), Image.open(three), [three]):
        answers = run.predict(given)
        assert len(answers) == 1 and answers[0].label == "3"
    answer = answers[0]
    assert 0.5 < answer.confidence <= 1 and len(answer.top) == 5
    assert json.loads(json.dumps(answer.to_dict()))["label"] == "3"
    drawn = answer.draw()
    assert drawn.width > 200 and drawn.mode == "RGB"


def test_damaged_pictures_are_left_out_and_named(run: st.Run, three: Path) -> None:
    (three.parent / "broken.png").write_bytes(three.read_bytes()[:40])
    answers = run.predict(three.parent)
    assert [Path(a.file).name for a in answers] == ["three.png"]
    assert len(run.left_out) == 1 and "broken.png" in run.left_out[0]
    with pytest.raises(BadData, match=r"broken\.png"):
        run.predict(three.parent / "broken.png")
    with pytest.raises(BadData, match="no such file or folder"):
        run.predict("nowhere.png")


def test_other_classes_are_refused(run: st.Run, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (8, 8), 40 * i).save(tmp_path / "train" / name / f"{i}.png")
    with pytest.raises(BadData, match="its classes cat, dog are not the model's 0, 1, 2"):
        run.evaluate(tmp_path)
    with pytest.raises(BadSetting, match="split 'tset' is not known"):
        run.evaluate("digits", split="tset")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "model.json").unlink(), "this run is not finished: go on with"),
        (lambda f: shutil.rmtree(f), "there is no such folder"),
        (lambda f: (f / "model.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / "model.json").write_text('{"format": 99}'), "not of format 1"),
        (lambda f: (f / "model.json").write_text('{"format": 1}'), "field 'task' is missing"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n"),
            "not a whole safetensors",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "not a whole safetensors"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(run: st.Run, tmp_path: Path, spoil, says: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(run.path, folder)
    spoil(folder)
    with pytest.raises(BadRun) as error:
        st.load(folder)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(run: st.Run, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(run.path, folder)
    info = json.loads((folder / "model.json").read_text())
    text = json.dumps(info).replace('"filters": 16', '"filters": 17')
    (folder / "model.json").write_text(text)
    with pytest.raises(BadRun, match="weights are not of the network"):
        st.load(folder)


def test_a_module_of_ones_own_trains_and_needs_itself_to_open(tmp_path: Path) -> None:
    def own() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    folder = tmp_path / "own"
    run = st.train("classify", data="digits", net=own(), epochs=2, out=folder, progress=False)
    assert run.figures["accuracy"] > 0.5
    with pytest.raises(BadRun, match="network="):
        st.load(folder)
    assert st.load(folder, network=own()).evaluate()["accuracy"] == run.figures["accuracy"]


class Looks(nn.Module):
    """A forward that looks at values, which no table can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(x.flatten(1) / (10 if x.abs().max() > 10 else 1))


def test_a_module_that_looks_at_values_trains_to_a_report(tmp_path: Path) -> None:
    run = st.train("classify", data="digits", net=Looks(), epochs=1, out=tmp_path / "run", progress=False)
    assert (run.path / "report.html").is_file()
    with pytest.raises(BadRun, match="from a module of your own, Looks: go on with it from Python"):
        st.train(out=run.path, resume=True, progress=False)


def test_pixels_that_stay_in_0_to_1_do_so_in_the_saved_run_too(tmp_path: Path) -> None:
    training = {"epochs": 4, "batch": 64, "changes": {"standardise": False}, "progress": False}
    run = st.train("classify", data="digits", net=NET, out=tmp_path / "run", **training)
    again = st.load(run.path)
    assert again.prepare.mean == () == again.prepare.std
    assert again.evaluate("digits")["accuracy"] == run.figures["accuracy"] > 0.8


def test_fresh_runs_get_the_next_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("", "-3", "-old", "-2.zip"):
        (tmp_path / f"runs/classify-digits-fc10{name}").mkdir(parents=True)

    def train(**more) -> st.Run:
        return st.train(data="digits", net="fc10", epochs=1, progress=False, **more)

    assert train().path.name == "classify-digits-fc10-4"
    assert train(resume=True).path.name == "classify-digits-fc10-4"
    with pytest.raises(st.StriateError, match="no.pt"):
        st.train(data="digits", net="fc10", weights=tmp_path / "no.pt", progress=False)
    assert not (tmp_path / "runs/classify-digits-fc10-5").exists()  # nothing came into it


def test_a_folder_in_use_is_not_overwritten(run: st.Run) -> None:
    with pytest.raises(BadRun, match="is not empty"):
        st.train("classify", data="digits", net=NET, out=run.path, progress=False)


def test_changed_weights_change_the_answer_and_the_network_stays_plain(run: st.Run) -> None:
    run = st.load(run.path)
    x = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    plain = str(run.network)
    before = run.answer(x)
    assert run.answering is run.answering and str(run.network) == plain
    with torch.no_grad():
        for weight in run.network.parameters():
            weight.mul_(2)
    assert not torch.allclose(run.answer(x), before)


def test_going_on_with_nothing_is_refused_or_said(tmp_path, capsys):
    with pytest.raises(
        BadRun, match=r"typo: there is no run to go on with; to begin one there, give it --data"
    ):
        st.train(out=tmp_path / "typo", resume=True)
    st.train(data="digits", net="fc10", epochs=1, out=tmp_path / "fresh", resume=True)
    assert "nothing to go on with in" in " ".join(capsys.readouterr().err.split())


def test_an_evaluation_says_how_it_looked_and_refuses_what_excludes_itself(run: st.Run) -> None:
    def evaluate(*ways: str):
        return CliRunner().invoke(app, ["evaluate", str(run.path), *ways])

    assert evaluate("--views", "2").stdout.startswith("val split of digits, views 2\n")
    found = json.loads(evaluate("--views", "2", "--json").stdout)
    assert found["views"] == 2 and found["accuracy"] > 0.5 and "tta" not in found
    for other in ("--dense", "--tta", "--no-tta"):
        with pytest.raises(BadSetting, match="views 2 says by itself where to look: leave"):
            raise evaluate("--views", "2", other).exception
    with pytest.raises(BadSetting, match="vote 'median' is not known"):
        raise evaluate("--vote", "median").exception


def test_a_recipes_own_smoothing_is_left_out_where_there_are_no_classes_to_smooth() -> None:
    assert settings.new({"task": "pose", "data": "x", "recipe": "finetune"}, {}).recipe.label_smoothing == 0
    assert settings.new({"task": "segment", "data": "x", "recipe": "finetune"}, {}).recipe.label_smoothing > 0


def test_pictures_that_were_not_mirrored_are_not_judged_so() -> None:
    for channels, tta in ((1, False), (3, True)):
        assert _decided(RECIPES["sprint"], Prepare((32, 32), channels), True, True).tta is tta
    assert not _decided(RECIPES["sprint"], Prepare((32, 32), 3), False, True).tta


def test_steps_of_our_own_networks_may_be_recorded_and_those_of_others_where_they_say_so() -> None:
    for ours, asked, graph in (
        (True, None, True),
        (False, None, False),
        (True, False, False),
        (False, True, True),
    ):
        recipe = replace(RECIPES["fast"], cuda_graph=asked)
        assert _decided(recipe, Prepare((32, 32), 3), True, ours).cuda_graph is graph
