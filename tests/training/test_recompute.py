"""Recomputing blocks gives the same weights, bit for bit, from less memory."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.data.loader import Loader
from striate.data.prepare import Prepare
from striate.data.source import Split
from striate.data.store import Store, decode
from striate.errors import BadSetting
from striate.memory import Storages
from striate.tasks import TASKS
from striate.training.loop import Training
from striate.training.recipes import Recipe
from striate.training.recompute import blocks

TASK = TASKS["classify"]
PREPARE = Prepare((32, 32), 3, mean=(0.5,) * 3, std=(0.2,) * 3)


@cache
def store() -> Store:
    """48 pictures of noise."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (48, 3, 32, 32), dtype=np.uint8)
    return decode(Split(pictures, {"label": rng.integers(0, 10, 48)}), PREPARE, TASK.targets)


def trained(net: str, **changes) -> tuple[nn.Module, int]:
    """A network after three steps, and the bytes that were needed at most."""
    torch.manual_seed(0)
    network = models.network(net, classes=10, channels=3, size=(32, 32))
    for layer in list(network.modules()):
        if isinstance(layer, models.resnet.BasicBlock):
            layer.relu = nn.Sequential(nn.ReLU(), nn.Dropout(0.2))
    recipe = Recipe(epochs=1, batch=16, **changes)
    storages = Storages()
    with storages:
        list(Training(network, TASK, Loader(store(), PREPARE, 16, 0), recipe, evaluate=dict).run())
    return network, storages.peak


@pytest.mark.parametrize("net", ["resnet20", "googlenet-bn"])
def test_the_same_weights_and_statistics_from_less_memory(net: str) -> None:
    plain, much = trained(net)
    again, little = trained(net, recompute=True)
    assert little < (0.6 if net == "resnet20" else 1.0) * much  # at this size GoogLeNet is mostly weights
    for (name, a), b in zip(plain.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert "forward" not in {key for module in again.modules() for key in vars(module)}


def test_the_blocks_of_a_residual_network_and_of_googlenet() -> None:
    network = models.network("resnet20", classes=10, channels=3, size=(32, 32))
    assert {type(block).__name__ for block in blocks(network)} == {"BasicBlock"}
    assert len(blocks(network)) == 9


def test_a_chain_has_none_and_is_told_what_helps() -> None:
    with pytest.raises(BadSetting, match="one chain without blocks .* accumulate=4"):
        trained("convnetjs-cifar10", recompute=True)


@pytest.mark.slow  # a minute of compiling
def test_a_compiled_step_learns_the_same() -> None:
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        network = models.network("resnet20", classes=10, channels=3, size=(32, 32))
        recipe = Recipe(epochs=3, batch=16, compile=compiled)
        work = Training(network, TASK, Loader(store(), PREPARE, 16, 0), recipe, evaluate=dict)
        losses.append([row["loss"] for row in work.run() if row["row"] == "epoch"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
