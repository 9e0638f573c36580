"""Steps recorded on a GPU and replayed: the same weights as steps that are run one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate import models
from striate.data.loader import Loader
from striate.data.prepare import Prepare
from striate.data.source import Split
from striate.data.store import decode
from striate.errors import BadSetting
from striate.models import MODELS
from striate.tasks import TASKS
from striate.training.evaluate import figures
from striate.training.loop import Training
from striate.training.recipes import RECIPES, Recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="steps are recorded on a GPU")


@pytest.fixture(autouse=True)
def steady(monkeypatch) -> None:
    """Every step is recorded, however busy the GPU is, and sums are taken in the same order each time."""
    monkeypatch.setattr("striate.training.recorded.LAUNCHING", 0.0)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


TASK = TASKS["classify"]
FACTS = {"classes": list("0123456789")}
NIELSEN = "conv5-20, pool2, relu, conv5-40, pool2, relu, fc100, relu, dropout0.5, softmax10"


def training(
    recipe: Recipe, net: str | nn.Module = "resnet20", folder=None, side=32, channels=3, **options
) -> Training:
    """On 203 pictures of noise, judged on them after every epoch."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (203, channels, side, side), dtype=np.uint8)
    prepare = Prepare((side, side), channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    store = decode(Split(pixels, {"label": rng.integers(0, 10, 203)}), prepare, TASK.targets)
    device = torch.device("cuda", 0)
    store.move(device)
    torch.manual_seed(0)
    if isinstance(net, str):
        net = models.network(net, classes=10, channels=channels, size=(side, side))
    network = net.to(device)
    loader = Loader(store, prepare, recipe.batch, 0, shift=4, flip=True, device=device)
    judge = lambda: figures(network, TASK, FACTS, store, prepare)  # noqa: E731
    return Training(network, TASK, loader, recipe, judge, folder, **options)


def weights(work: Training) -> list[Tensor]:
    list(work.run())
    return [t.float() for t in work.network.state_dict().values()]


FAST = Recipe(epochs=6, batch=16, lr=0.01, precision="float32")
CASES = {
    "adamw": FAST,
    "average": replace(FAST, ema=0.9, clip=1.0),
    "sgd": replace(FAST, optimizer="sgd", momentum=0.9, weight_decay=1e-4),
    "muon": replace(RECIPES["muon"], epochs=6, batch=16, precision="float32"),
    "adadelta": replace(FAST, optimizer="adadelta", lr=1.0),
    "renorm": replace(FAST, optimizer="sgd", renorm=0.05),
    "accumulate": replace(FAST, accumulate=2),
    "small": replace(FAST, epochs=12, small=0.6),
    "bfloat16": replace(FAST, precision="bfloat16"),
}


@pytest.mark.parametrize("case", CASES)
def test_replayed_steps_give_the_weights_of_steps_that_are_run(case: str) -> None:
    plain = training(CASES[case])
    recorded = training(replace(CASES[case], cuda_graph=True))
    expected, found = weights(plain), weights(recorded)
    assert recorded.replays is not None and recorded.replays.graphs
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert [r["loss"] for r in plain.rows] == pytest.approx([r["loss"] for r in recorded.rows], rel=1e-3)


def test_dropout_draws_other_numbers_in_every_replay() -> None:
    recipe = replace(FAST, optimizer="sgd", momentum=0.0)
    plain, recorded = training(recipe, NIELSEN), training(replace(recipe, cuda_graph=True), NIELSEN)
    for one, other in zip(weights(plain), weights(recorded), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert recorded.replays is not None and recorded.replays.graphs


def test_stopped_among_replays_and_resumed(tmp_path) -> None:
    recipe = replace(FAST, cuda_graph=True)
    whole = weights(training(recipe, NIELSEN))
    first = training(recipe, NIELSEN, tmp_path, stop=lambda: first.step == 30)
    list(first.run())
    second = training(recipe, NIELSEN, tmp_path)
    assert first.replays is not None and first.replays.graphs
    assert second.resume() and second.step == 30
    for one, other in zip(whole, weights(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


ZOO = "lenet5 alexnet zfnet googlenet googlenet-bn vgg11-lrn resnet18 plain20 farabet convnetjs-mnist fast"


@pytest.mark.parametrize("net", ZOO.split())
def test_the_networks_of_the_zoo_can_be_recorded_and_judged_between_replays(net: str) -> None:
    entry = MODELS[net]
    recipe = replace(FAST, epochs=2, cuda_graph=True, lr=1e-3, precision="auto")
    work = training(recipe, net, side=entry.size, channels=entry.channels)
    weights(work)
    assert work.replays is not None and work.replays.graphs
    assert all("accuracy" in row for row in work.rows)


class Asks(nn.Module):
    """A network that looks at a value while it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 10)

    def forward(self, images: Tensor) -> Tensor:
        answer = self.layer(images.flatten(1))
        return answer * 2 if float(answer.detach().mean()) > 0 else answer


def test_a_network_that_asks_for_values_is_not_recorded_and_is_told() -> None:
    with pytest.raises(BadSetting, match="cuda_graph=no"):
        weights(training(replace(FAST, cuda_graph=True), Asks()))
