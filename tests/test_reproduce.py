"""Experiments of the literature: their tables are the published ones, and a run that was stopped goes on."""

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from typer.testing import CliRunner

from striate.cli import app
from striate.data.derived import moved
from striate.data.source import Split
from striate.design import NAMED
from striate.errors import BadSetting
from striate.models import MODELS, network
from striate.reproduce import EXPERIMENTS, runner
from striate.reproduce.experiment import Experiment, Line
from striate.reproduce.runner import _name, rows
from striate.training.optim import make_optimizer
from striate.training.recipes import recipe_from


def test_nielsens_rows_are_the_books() -> None:
    lines = EXPERIMENTS["nielsen"].lines
    published = [97.80, 98.78, 99.06, 99.23, 99.37, 99.46, 99.43, 99.43, 99.48, 99.47, 99.60, 99.67]
    assert [line.published for line in lines] == published
    assert [line.seeds for line in lines] == [1] * 11 + [5]


def test_every_row_has_a_network_and_a_recipe() -> None:
    for name, experiment in EXPERIMENTS.items():
        for line in experiment.lines:
            for changes in (line.changes, line.changes | line.quick):
                recipe = recipe_from(line.recipe, changes, line.net)
                assert recipe.epochs >= 1, (name, line.name)
            assert line.net in MODELS or line.net in NAMED or network(line.net) is not None


def test_full_length_is_the_papers() -> None:
    line = EXPERIMENTS["nielsen"].lines[3]
    recipe = recipe_from(line.recipe, line.changes, line.net)
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.momentum) == (60, 10, 0.03, 0.0)
    assert recipe.weight_decay == pytest.approx(0.1 / 5000) and recipe.schedule == "constant"


def test_weights_behind_dropout_move_as_in_the_book() -> None:
    """network3.py drops inputs in training and takes (1 - p) of the weights in a test: one step of each."""
    line = EXPERIMENTS["nielsen"].lines[10]
    ours = network(line.net).train()
    book = copy.deepcopy(ours)
    layers = [layer for layer in book.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.weight.data *= 2
        layer.register_forward_pre_hook(lambda layer, inputs: (inputs[0] / 2,))  # undoes PyTorch's doubling
    images, labels = torch.randn(10, 1, 28, 28), torch.arange(10)
    for net, changes in ((ours, {}), (book, {"head_lr": 1.0})):
        optimizer = make_optimizer(net, recipe_from(line.recipe, line.changes | changes, line.net))
        torch.manual_seed(0)  # the same numbers are dropped
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    theirs = dict(book.named_parameters())
    for name, weight in ours.named_parameters():
        if not name.endswith("bias"):  # those behind dropout are slower, which the experiment says
            expected = theirs[name] / (2 if weight.ndim == 2 else 1)
            torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-6)


def test_the_expanded_set_is_the_picture_and_its_four_neighbours() -> None:
    picture = np.zeros((1, 1, 3, 3), dtype=np.uint8)
    picture[0, 0, 1, 1], picture[0, 0, 0, 2] = 9, 5
    many = moved(Split(picture, {"label": np.array([7])}))
    assert many.images.shape == (5, 1, 3, 3) and many.targets["label"].tolist() == [7] * 5
    centres = [tuple(np.argwhere(image[0] == 9)[0].tolist()) for image in many.images]
    assert centres == [(1, 1), (2, 1), (0, 1), (1, 2), (1, 0)]
    assert [int((image == 5).sum()) for image in many.images] == [1, 1, 0, 0, 1]


@pytest.fixture
def folders(tmp_path) -> str:
    """Scanned digits as class folders with a test split of their own."""
    bunch = load_digits()
    for number in range(600):
        place = tmp_path / "digits" / ("test" if number % 5 == 0 else "train") / str(bunch.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((bunch.images[number] * 15).astype(np.uint8)).save(place / f"{number}.png")
    return str(tmp_path / "digits")


def test_rows_vote_and_are_not_trained_twice(folders, tmp_path) -> None:
    quick = {"epochs": 4, "batch": 32, "lr": 0.01}
    net = "conv3-8 pad1, relu, pool2, softmax10"
    lines = (
        Line("one", 90.0, net, folders, {"shift": 0}, quick),
        Line("vote of three", None, net, folders, {"shift": 0}, quick, seeds=3),
    )
    experiment = Experiment("Digits", "nobody", "error", lines, scaled="", differs="")
    said: list[str] = []
    out = tmp_path / "out"
    first = list(rows(experiment, out, quick=True, progress=False, say=said.append))
    assert [row["name"] for row in first] == ["one", "vote of three"]
    assert first[0]["ours"] < 60 and first[1]["seeds"] == [0, 1, 2] and first[0]["epochs"] == 4
    assert len(list(out.iterdir())) == 3  # the vote finds the first row's training
    assert list(rows(experiment, out, quick=True, progress=False, say=said.append)) == first
    assert [row["name"] for row in rows(experiment, out, quick=True, only="vote", say=said.append)] == [
        "vote of three"
    ]
    shorter = rows(
        experiment, out, quick=True, changes={"epochs": "1"}, only="one", progress=False, say=said.append
    )
    assert [row["epochs"] for row in shorter] == [1] and len(list(out.iterdir())) == 4  # another training
    with pytest.raises(BadSetting, match="no row has that in its name. There are: one; vote of three"):
        next(rows(experiment, out, only="two"))


def test_rows_that_differ_in_the_recipe_alone_are_two_trainings() -> None:
    own, fast = EXPERIMENTS["convnetjs"].lines
    assert own.net == fast.net and own.recipe != fast.recipe
    assert _name(own, {"epochs": "1"}, 0) != _name(fast, {"epochs": "1"}, 0)


def test_a_finished_table_is_kept_when_one_row_is_done_again(tmp_path, monkeypatch) -> None:
    def reproduced(*words: str, **row) -> list[tuple]:
        row = {"published": 1.0, "seeds": [0], "epochs": 1, "seconds": 2.0} | row
        monkeypatch.setattr(runner, "rows", lambda *_, **__: iter([row]))
        result = CliRunner().invoke(app, ["reproduce", "nielsen", "--out", str(tmp_path), "--json", *words])
        assert json.loads(result.stdout)["rows"] == [row]
        kept = json.loads((tmp_path / "results.json").read_text())["rows"]
        return [(one["name"], one["seeds"], one["changed"], one["ours"]) for one in kept]

    old = {"name": "FC 100", "ours": 97.0, "seeds": [0]}  # as the table was once written
    before = {"experiment": "nielsen", "quick": False, "changed": ["epochs=9"], "rows": [old]}
    (tmp_path / "results.json").write_text(json.dumps(before))
    first, second = ("FC 100", [0], ["epochs=9"], 97.0), ("conv", [0], [], 98.0)
    assert reproduced(name="conv", ours=98.0) == [first, second]
    other = ("conv", [1], [], 97.5)
    assert reproduced(name="conv", ours=97.5, seeds=[1]) == [first, second, other]
    again = ("FC 100", [0], ["epochs=9"], 97.1)
    assert reproduced("--set", "epochs=9", name="FC 100", ours=97.1) == [again, second, other]
    (tmp_path / "results.json").write_text('{"rows": [')  # killed while it was written
    assert reproduced(name="conv", ours=98.0) == [second]


def test_options_without_an_experiment_are_refused() -> None:
    with pytest.raises(BadSetting, match="say which experiment: nielsen, "):
        raise CliRunner().invoke(app, ["reproduce", "--only", "dropout"]).exception
