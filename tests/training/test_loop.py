"""The loop as a generator: the same seed gives the same weights, every option does what its name says."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.data.augment import statistics
from striate.data.loader import Loader, seed_of
from striate.data.prepare import Prepare
from striate.data.source import Split
from striate.data.store import Store, decode
from striate.errors import BadSetting
from striate.tasks import TASKS
from striate.training.evaluate import everything, figures
from striate.training.loop import Training
from striate.training.recipes import Recipe

TASK = TASKS["classify"]
FACTS = {"classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}


@pytest.fixture(scope="module")
def digits() -> tuple[Store, Prepare]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.ascontiguousarray((bunch.images * 15).astype(np.uint8)[:500, None])
    plain = Prepare((8, 8), 1)
    store = decode(Split(pixels, {"label": bunch.target[:500].astype(np.int64)}), plain, TASK.targets)
    mean, std = statistics(store.images)
    return store, replace(plain, mean=mean, std=std)


def network(norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.1), nn.Linear(128, 10))


def training(digits, recipe: Recipe, net: nn.Module | None = None, folder=None, **options) -> Training:
    store, prepare = digits
    loader = Loader(store, prepare, recipe.batch, seed=0, shift=1)
    net = net if net is not None else network()
    judge = lambda: {"accuracy": figures(net, TASK, FACTS, store, prepare)["accuracy"]}  # noqa: E731
    return Training(net, TASK, loader, recipe, judge, folder, **options)


def weights(training: Training) -> list[Tensor]:
    return [t.clone() for t in training.network.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_it_learns_and_its_rows_say_so(digits) -> None:
    work = training(digits, Recipe(epochs=6, batch=32, lr=0.01), row_seconds=0.0)
    rows = list(work.run())
    epochs = [row for row in rows if row["row"] == "epoch"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["accuracy"] > 0.9 and epochs[-1]["loss"] < epochs[0]["loss"] / 2
    assert [row["step"] for row in rows if row["row"] == "step"] == [i for i in range(1, 97) if i % 16]
    assert work.finished and list(work.run()) == []


def test_the_same_seed_gives_the_same_weights(digits) -> None:
    recipe = Recipe(epochs=2, batch=64)
    one, other = training(digits, recipe), training(digits, recipe)
    list(one.run())
    list(other.run())
    assert same(weights(one), weights(other))


@pytest.mark.parametrize("stop_at", [1, 5, 8, 11])
def test_stopped_at_any_step_and_resumed(digits, tmp_path, stop_at: int) -> None:
    recipe = Recipe(epochs=3, batch=128, ema=0.9, optimizer="sgd", lr=0.1)
    whole = training(digits, recipe, network(norm=True), tmp_path / "whole")
    list(whole.run())
    first = training(digits, recipe, network(norm=True), tmp_path / "broken")
    first.stop = lambda: first.step >= stop_at
    list(first.run())
    second = training(digits, recipe, network(norm=True), tmp_path / "broken")
    assert second.resume() and second.step == stop_at
    list(second.run())
    assert same(weights(whole), weights(second))
    assert same(whole.average.average, second.average.average)
    assert [r["loss"] for r in whole.rows] == [r["loss"] for r in second.rows]


def test_the_first_convolution_stays_as_it_is_from_some_step_on(digits, tmp_path) -> None:
    recipe = Recipe(epochs=4, batch=125, optimizer="sgd", lr=0.1, freeze_first=0.5)
    whole = training(digits, recipe, network(norm=True), tmp_path / "whole")
    first = next(layer for layer in whole.network.modules() if isinstance(layer, nn.Conv2d))
    filters, others = [], []
    for row in whole.run():
        if row["row"] == "epoch":
            filters.append(first.weight.clone())
            others.append(weights(whole)[-1])
    moved = [not torch.equal(a, b) for a, b in pairwise(filters)]
    assert moved == [True, False, False] and not any(torch.equal(a, b) for a, b in pairwise(others))
    assert all(parameter.requires_grad for parameter in first.parameters())
    broken = training(digits, recipe, network(norm=True), tmp_path / "broken")
    broken.stop = lambda: broken.step in (3, 11)
    while not broken.finished:  # resumed before it is fixed, and after
        list(broken.run())
    assert same(weights(whole), weights(broken))


def test_pictures_grow_from_half_their_size(digits) -> None:
    seen = []

    class Averaging(nn.Sequential):
        def forward(self, x):
            if self.training:
                seen.append(x.shape[-1])
            return super().forward(x)

    net = Averaging(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    list(training(digits, Recipe(epochs=5, batch=100, small=0.8), net).run())
    assert seen == [4] * 5 + [5] * 5 + [6] * 5 + [7] * 5 + [8] * 5


def test_accumulating_gradients_is_the_batch_in_pieces(digits) -> None:
    recipe = Recipe(epochs=1, batch=125, optimizer="sgd", lr=0.1)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.manual_seed(0)
    one = training(digits, recipe, plain)
    pieces = training(digits, replace(recipe, accumulate=3), nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    pieces.network.load_state_dict(one.network.state_dict())
    list(one.run())
    list(pieces.run())
    for a, b in zip(weights(one), weights(pieces), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_every_picture_once_an_epoch_in_batches_of_nearly_one_size(digits) -> None:
    store, prepare = digits
    loader = Loader(store, prepare, 64, seed=3)
    order = loader.order(0)
    sizes = [len(loader.batch(order, 0, i)[0]) for i in range(loader.per_epoch)]
    assert sum(sizes) == 500 and max(sizes) <= 64 and max(sizes) - min(sizes) <= 1
    assert sorted(order.tolist()) == list(range(500))
    assert not torch.equal(order, loader.order(1))


@pytest.mark.parametrize(
    "augmentation",
    [{"shift": 1}, {"flip": True, "area": 0.3, "colour": 0.1}, {"flip": True, "alternate": True}],
)
def test_two_processes_share_each_batch(digits, augmentation) -> None:
    store, prepare = digits
    alone = Loader(store, prepare, 100, seed=3, **augmentation)
    order = alone.order(0)
    images, target = alone.batch(order, 0, 2)
    both = [Loader(store, prepare, 100, seed=3, rank=r, world=2, **augmentation) for r in (0, 1)]
    parts = [loader.batch(order, 0, 2) for loader in both]
    assert torch.equal(images, torch.cat([part[0] for part in parts]))
    assert torch.equal(target["label"], torch.cat([part[1]["label"] for part in parts]))


def test_alternating_every_picture_is_mirrored_in_every_other_epoch(digits) -> None:
    store, prepare = digits
    loader = Loader(store, prepare, 500, seed=3, flip=True, alternate=True)
    plain = Loader(store, prepare, 500, seed=3)
    epochs = []
    for epoch in range(4):
        order = loader.order(epoch)
        both = loader.batch(order, epoch, 0)[0], plain.batch(order, epoch, 0)[0]
        mirrored = torch.tensor([not torch.equal(a, b) for a, b in zip(*both, strict=True)])
        assert all(torch.equal(a, b.flip(-1)) for a, b in zip(*(x[mirrored] for x in both), strict=True))
        epochs.append(mirrored[order.argsort()])
    assert 200 < epochs[0].sum() < 300
    assert torch.equal(epochs[0], epochs[2]) and torch.equal(epochs[1], epochs[3])
    assert torch.equal(epochs[0], ~epochs[1])  # none of these digits is its own mirror image


def test_evaluations_can_be_fewer_and_the_last_epoch_always_has_one(digits) -> None:
    rows = list(training(digits, Recipe(epochs=5, batch=250, evaluate=2), row_seconds=1e9).run())
    assert ["accuracy" in row for row in rows] == [False, True, False, True, True]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]


def test_patience_ends_it_and_keeps_the_best(digits, tmp_path) -> None:
    work = training(digits, Recipe(epochs=50, batch=64, patience=2), folder=tmp_path)
    answers = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    work.evaluate = lambda: {"accuracy": next(answers)}
    rows = [row for row in work.run() if row["row"] == "epoch"]
    assert [row["accuracy"] for row in rows] == [0.5, 0.7, 0.6, 0.65]
    assert (tmp_path / "best.safetensors").is_file()


def test_whether_to_stop_is_asked_once_a_step_whenever_checkpoints_are_due(digits, tmp_path) -> None:
    """Several processes answer together: one that asks once more than the others waits for ever."""
    asked = []
    work = training(
        digits, Recipe(epochs=2, batch=100), folder=tmp_path, checkpoint_seconds=0.0,
        stop=lambda: bool(asked.append(work.step)),
    )  # fmt: skip
    list(work.run())
    assert asked == list(range(1, 11))


def test_clipping_bounds_the_step(digits) -> None:
    recipe = Recipe(epochs=1, batch=500, optimizer="sgd", lr=1.0, momentum=0, warmup=0, weight_decay=0)
    work = training(digits, replace(recipe, clip=1e-3))
    before = weights(work)
    list(work.run())
    moved = torch.stack([(a - b).norm() for a, b in zip(before, weights(work), strict=True)]).norm()
    assert moved == pytest.approx(1e-3, rel=0.01)


def test_a_loss_that_is_no_number_is_an_error(digits) -> None:
    work = training(digits, Recipe(epochs=1, batch=64, optimizer="sgd", lr=1e12, warmup=0))
    with pytest.raises(BadSetting, match="loss became (nan|inf) in epoch 1: lower the learning rate"):
        list(work.run())


def test_test_time_flip_averages_both_views(digits) -> None:
    store, prepare = digits
    net = network().eval()
    plain, _ = everything(net, TASK, store, prepare)
    both, _ = everything(net, TASK, store, prepare, tta=True)
    mirrored = replace(store, images=store.images.flip(-1))
    other, _ = everything(net, TASK, mirrored, prepare)
    torch.testing.assert_close(both, (plain + other) / 2, rtol=1e-4, atol=1e-5)


def test_seeds_are_unrelated() -> None:
    assert len({seed_of(a, b, c) for a in range(9) for b in range(9) for c in range(9)}) == 729


def test_a_training_begins_without_pytorchs_compiler() -> None:
    """Importing it takes longer than the first epoch of a small network."""
    code = (
        "import sys, torch\n"
        "from striate import experiment, settings\n"
        "from striate.tasks import TASKS\n"
        "from striate.training.loop import Training\n"
        "[TASKS[name] for name in TASKS]\n"
        "todo = settings.new({'data': 'digits', 'net': 'lenet5-modern'}, {'ema': 0.9})\n"
        "made = experiment.set_up(todo, torch.device('cpu'), experiment.silent, download=False)\n"
        "training = Training(made.network, made.task, made.loader, made.recipe, evaluate=dict)\n"
        "training.stop = lambda: training.step > 0\n"
        "list(training.run())\n"
        "slow = {'torch._dynamo', 'sympy', 'matplotlib', 'torchvision'} & set(sys.modules)\n"
        "assert training.step == 1 and not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
