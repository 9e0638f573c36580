"""Filters on small maps get the gradients of PyTorch's convolutions, and only where they should."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.grad import conv2d_weight

from striate import smallmaps
from striate.smallmaps import Convolution, SmallMaps, filter_gradients
from striate.training import loop
from striate.training.recipes import Recipe

CPU = torch.device("cpu")


@given(
    n=st.integers(1, 5), c=st.integers(1, 9), o=st.integers(1, 9), h=st.integers(1, 8), w=st.integers(1, 8),
    block=st.sampled_from([1, 2000, 1 << 23]),
)  # fmt: skip
def test_gradients_are_those_of_a_convolution(n: int, c: int, o: int, h: int, w: int, block: int) -> None:
    torch.manual_seed(n + 10 * h + 200 * w)
    x = torch.randn(n, c, h, w).contiguous(memory_format=torch.channels_last)
    dy = torch.randn(n, o, h, w).contiguous(memory_format=torch.channels_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smallmaps, "BLOCK", block)  # a picture at a time, a few, or all
        found = filter_gradients(x, dy)
    torch.testing.assert_close(found, conv2d_weight(x, (o, c, 3, 3), dy, padding=1))


def test_a_layer_learns_as_it_did_in_bfloat16() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 256, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(16, 128, 7, 7).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    exactly = F.conv2d(x.detach().double().requires_grad_(), layer.weight.double(), padding=1)
    dy = torch.randn_like(exactly)

    def learned() -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        return [y, *torch.autograd.grad(y, [x, layer.weight], dy.to(y.dtype))]

    usual = learned()
    with SmallMaps(layer):
        ours = learned()
    assert "forward" not in vars(layer)
    assert torch.equal(ours[0], usual[0]) and torch.equal(ours[1], usual[1])
    assert ours[2].dtype == usual[2].dtype == torch.float32 and not torch.equal(ours[2], usual[2])
    expected = conv2d_weight(x.detach().double(), layer.weight.shape, dy, padding=1)
    off, usually = ((gradient - expected).norm() / expected.norm() for gradient in (ours[2], usual[2]))
    assert off < 0.005 and off < 1.2 * usually


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "float32": ({}, {"dtype": torch.float32}),
    "a wide map": ({}, {"size": 9}),
    "a bias": ({"bias": True}, {}),
    "a stride": ({"stride": 2}, {}),
    "another size": ({"kernel_size": 1, "padding": 0}, {}),
}


@pytest.mark.parametrize("name", [*OTHERS, "none of these"])
def test_other_convolutions_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, of_input = OTHERS.get(name, ({}, {}))
    layer = nn.Conv2d(
        **{"in_channels": 64, "out_channels": 64, "kernel_size": 3, "padding": 1, "bias": False} | changes
    )
    layer.bfloat16()
    given = {"size": 5, "dtype": torch.bfloat16} | of_input
    x = torch.randn(2, 64, given["size"], given["size"], dtype=given["dtype"])
    x = x.contiguous(memory_format=torch.channels_last)
    taken = []
    monkeypatch.setattr(
        Convolution, "apply", lambda x, filters: taken.append(1) or F.conv2d(x, filters, padding=1)
    )
    with SmallMaps(layer), torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert bool(taken) == (name == "none of these")


@pytest.mark.parametrize("tiles", [True, False])
def test_only_processors_with_tiles_take_it(tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True} if tiles else {})
    network = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False))
    recipe = Recipe(epochs=1, batch=16, precision="bfloat16")
    assert isinstance(loop.convolutions(network, recipe, CPU), SmallMaps) == tiles
    for changes in ({"compile": True}, {"channels_last": False}, {"precision": "float32"}):
        other = Recipe(**{"epochs": 1, "batch": 16, "precision": "bfloat16"} | changes)
        assert not isinstance(loop.convolutions(network, other, CPU), SmallMaps)
