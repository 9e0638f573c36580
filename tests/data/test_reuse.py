"""Memory is handed out again only when nobody holds what lies in it."""

import importlib.util
import sys

import numpy as np
import torch

from striate.data import reuse
from striate.data.reuse import MOST, Arrays


def test_what_is_let_go_comes_back():
    memory = Arrays()
    first = memory.take((2, 3), np.uint8)
    first[:] = 7
    del first
    assert (memory.take((2, 3), np.uint8) == 7).all()


def test_what_is_held_does_not():
    memory = Arrays()
    array = memory.take((2, 3), np.float32)
    assert memory.take((2, 3), np.float32) is not array
    tensor = torch.from_numpy(memory.take((4,), np.float32)).fill_(1)[1:]
    memory.take((4,), np.float32)[:] = 2
    assert tensor.tolist() == [1, 1, 1]


def test_what_autograd_holds_does_not():
    memory = Arrays()
    weight = torch.ones(4, requires_grad=True)
    product = (weight * torch.from_numpy(memory.take((4,), np.float32)).fill_(3)).sum()
    memory.take((4,), np.float32)[:] = 0
    product.backward()
    assert weight.grad.tolist() == [3, 3, 3, 3]


def test_what_a_version_of_python_counts_is_asked_and_not_known(monkeypatch):
    """Versions that lend local variables count one holder less."""
    count = sys.getrefcount
    monkeypatch.setattr(sys, "getrefcount", lambda array: count(array) + 5)
    spec = importlib.util.spec_from_file_location("again", reuse.__file__)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    again = module.Arrays()
    again.take((2, 3), np.uint8)[:] = 7
    assert (again.take((2, 3), np.uint8) == 7).all()
    held = again.take((2, 3), np.uint8)
    assert again.take((2, 3), np.uint8) is not held


def test_another_shape_or_type_is_other_memory_and_few_are_kept():
    memory = Arrays()
    shapes = {memory.take((n,), kind).shape for n in range(1, 20) for kind in (np.uint8, np.float32)}
    assert len(shapes) == 19 and len(memory._known) == MOST
