"""Every parameter of a network with an application's head is part of its answer: processes wait for each."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from striate import models
from striate.tasks import TASKS

FACTS: dict[str, Any] = {"classes": ["a", "b"], "joints": ["nose", "tail"], "bones": [], "mirrored": [0, 1]}
HEADS = [("detect", "onestage"), ("pose", "heatmap"), ("pose", "deeppose"), ("segment", "light")]


@pytest.mark.parametrize("net", ["resnet10-half", "googlenet"])
@pytest.mark.parametrize(("task", "head"), HEADS)
def test_no_parameter_is_left_without_a_gradient(task: str, head: str, net: str) -> None:
    torch.manual_seed(0)
    network = TASKS[task].build(models.network(net, classes=2), {**FACTS, "head": head}).train()
    answer = TASKS[task].forward(network, torch.randn(2, 3, 64, 64), None)
    parts = [part for part in tree_leaves(answer) if isinstance(part, Tensor) and part.requires_grad]
    torch.stack([part.float().square().sum() for part in parts]).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
