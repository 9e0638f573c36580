"""Winograd's convolutions are PyTorch's, gradients included, and are taken where they are meant to be."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from striate import models
from striate.models.folding import for_inference
from striate.models.fused import FusedConv
from striate.tasks import TASKS
from striate.training.loop import Step
from striate.training.recipes import Recipe
from striate.winograd import (
    Convolution,
    Room,
    Winograd,
    before_pool,
    convolution,
    convolve,
    layers,
    pays,
    plan,
    plans,
)

CPU = torch.device("cpu")


def near(found: Tensor, expected: Tensor, tolerance: float = 5e-5) -> bool:
    """Within so much of the largest value."""
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def gradients(y: Tensor, dy: Tensor, of: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(y, of, dy))


@given(
    n=st.integers(1, 5), c=st.integers(1, 9), o=st.integers(1, 9), h=st.integers(1, 17), w=st.integers(1, 17),
    block=st.sampled_from([1, 2000, 1 << 20]), whole=st.booleans(), bias=st.booleans(), last=st.booleans(),
    even=st.booleans(),
)  # fmt: skip
def test_results_and_gradients_are_direct_convolutions(
    n: int, c: int, o: int, h: int, w: int, block: int, whole: bool, bias: bool, last: bool, even: bool
) -> None:
    seen = [side - 1 if even and side % 2 and side > 1 else side for side in (h, w)]
    torch.manual_seed(n + 10 * h + 200 * w)
    x = torch.randn(n, c, h, w).contiguous(memory_format=torch.channels_last).requires_grad_()
    filters, b = torch.randn(o, c, 3, 3, requires_grad=True), torch.randn(o, requires_grad=True)
    leaves = [x, filters, b] if bias else [x, filters]
    expected = F.conv2d(x, filters, b if bias else None, padding=1)[..., : seen[0], : seen[1]]
    dy = torch.randn_like(expected, memory_format=torch.channels_last if last else torch.contiguous_format)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "BLOCK", block)  # many blocks, of few rows of one picture, or one of all
        patch.setattr(plans, "WHOLE", 16 if whole else 0)
        plan.cache_clear()
        found = Convolution.apply(x, filters, b if bias else None, Room(), even)
        assert near(found, expected)
        for one, other in zip(gradients(found, dy, leaves), gradients(expected, dy, leaves), strict=True):
            assert near(one, other)
        way = plan(h, w, even)
        clipped = convolve(x.detach(), way.transformed(filters.detach()), way, Room(), b.detach(), relu=True)
        plan.cache_clear()
    direct = F.conv2d(x, filters, b, padding=1)[..., : seen[0], : seen[1]]
    assert near(clipped, F.relu(direct).detach(), 1e-4)


def test_one_room_serves_layers_of_different_sizes_in_turn() -> None:
    room = Room()
    for n, c, o, side in ((4, 8, 16, 12), (1, 3, 2, 5), (2, 16, 8, 12)):
        x, filters = torch.randn(n, c, side, side), torch.randn(o, c, 3, 3)
        way = plan(side, side)
        assert near(convolve(x, way.transformed(filters), way, room), F.conv2d(x, filters, padding=1))


OTHERS: dict[str, dict[str, Any]] = {
    "a stride": {"stride": 2},
    "no border": {"padding": 0},
    "groups": {"groups": 2},
    "a dilation": {"dilation": 2},
    "a border in words": {"padding": "same"},
    "another size": {"kernel_size": 5},
    "a reflected border": {"padding_mode": "reflect"},
    "doubles": {"dtype": torch.float64},
    "few channels": {"in_channels": 32},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_convolutions_stay_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "pays", lambda *_: True)
    torch.manual_seed(0)
    settings = {"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1} | OTHERS[name]
    layer = nn.Conv2d(**settings)
    x = torch.randn(8, layer.in_channels, 16, 16, dtype=layer.weight.dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    with Winograd(layer):
        found = layer(x)
    assert torch.equal(found, layer(x))


def test_a_layer_of_many_channels_is_taken_and_afterwards_as_it_was() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 128, 3, padding=1)
    x = torch.randn(32, 128, 16, 16).contiguous(memory_format=torch.channels_last)
    way = Winograd(layer)
    for _ in range(2):
        with way:
            found = layer(x)
            assert not torch.equal(found, layer(x.contiguous()))  # not channels last: directly
        assert near(found, layer(x)) and not torch.equal(found, layer(x))  # 1e-6 apart: not the same sums
        assert "forward" not in vars(layer)


def test_what_pays() -> None:
    vgg = {64: 224, 128: 112, 256: 56, 512: 28}
    assert all(pays((8, width, side, side), width, "training") for width, side in vgg.items())
    assert pays((32, 512, 7, 7), 512) and not pays((1, 512, 7, 7), 512)  # a tile, and filters for many
    assert not pays((64, 64, 15, 15), 64)  # transforms take what multiplications save


def test_a_plan_made_for_answers_serves_training() -> None:
    plan.cache_clear()
    plans.transforms.cache_clear()
    x, filters = torch.randn(2, 8, 7, 7), torch.randn(4, 8, 3, 3)
    with torch.inference_mode():
        way = plan(7, 7)
        convolve(x, way.transformed(filters), way, Room())
    leaves = [t.requires_grad_() for t in (x, filters)]
    found = Convolution.apply(x, filters, None, Room()).sum()
    expected = F.conv2d(x, filters, padding=1).sum()
    for one, other in zip(*(torch.autograd.grad(y, leaves) for y in (found, expected)), strict=True):
        assert near(one, other)


def test_a_room_keeps_no_graph() -> None:
    way, room = plan(7, 7), Room()
    for _ in range(2):
        answer = convolve(torch.randn(2, 8, 7, 7, requires_grad=True), torch.randn(81, 4, 8), way, room)
        assert not answer.requires_grad and not any(t.requires_grad for t in room.held.values())


@pytest.mark.parametrize("side", [3, 7, 13, 15, 28])
def test_many_channels_are_summed_exactly_enough(side: int) -> None:
    """Beside the same in double precision: a hundredth of what bfloat16 would be off."""
    torch.manual_seed(0)
    x, filters = torch.randn(4, 256, side, side), torch.randn(64, 256, 3, 3) / 48
    exactly = F.conv2d(x.double(), filters.double(), padding=1)
    way = plan(side, side)
    off = convolve(x, way.transformed(filters), way, Room()) - exactly
    assert off.norm() < 2e-5 * exactly.norm() and off.abs().max() < 1e-4 * exactly.abs().max()


def test_networks_learn_the_same() -> None:
    """Of a batch: the loss, and every gradient; twice the same bits."""
    torch.manual_seed(0)
    network = models.network("vgg11-bn", classes=10, channels=3, size=(64, 64)).eval()  # no dropout
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):  # may take the second largest
                setattr(module, name, nn.AvgPool2d(2))
    network = network.to(memory_format=torch.channels_last)
    x = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    target = {"label": torch.arange(16) % 10}
    recipe = Recipe(epochs=1, batch=16)

    def learned(recipe: Recipe) -> tuple[Tensor, list[Tensor]]:
        loss = Step(network, TASKS["classify"], recipe, CPU)(x, target)
        return loss, list(torch.autograd.grad(loss, list(network.parameters())))

    loss, found = learned(recipe)
    again, twice = learned(recipe)
    assert torch.equal(loss, again) and all(torch.equal(a, b) for a, b in zip(found, twice, strict=True))
    loss_directly, expected = learned(Recipe(epochs=1, batch=16, winograd=False))
    assert abs(loss - loss_directly) < 1e-4 and any(
        not torch.equal(a, b) for a, b in zip(found, expected, strict=True)
    )
    for (name, _), a, b in zip(network.named_parameters(), found, expected, strict=True):
        assert (a - b).norm() <= 5e-3 * b.norm() + 1e-6, name  # a ReLU may fall on the other side


def test_what_a_pool_leaves_away_is_not_computed() -> None:
    torch.manual_seed(0)
    layer, pool = nn.Conv2d(64, 256, 3, padding=1), nn.MaxPool2d(2)
    before_pool(layer)
    x = torch.randn(64, 64, 15, 15).contiguous(memory_format=torch.channels_last)
    leaves = [x.requires_grad_(), *layer.parameters()]
    with Winograd(layer):
        found = layer(x)
    assert found.shape == (64, 256, 14, 14) and layer(x).shape == (64, 256, 15, 15)
    expected, dy = pool(layer(x)), torch.randn(64, 256, 7, 7)
    assert near(pool(found), expected)
    for one, other in zip(gradients(pool(found), dy, leaves), gradients(expected, dy, leaves), strict=True):
        assert (one - other).norm() < 2e-2 * other.norm()  # a pool may take the second largest


@pytest.mark.parametrize("net", ["vgg11", "resnet18"])
def test_answers_take_it_with_filters_transformed_once(net: str) -> None:
    torch.manual_seed(0)
    network = models.network(net, classes=10, channels=3, size=(128, 128)).eval()
    network = network.to(memory_format=torch.channels_last)
    quick = for_inference(network)
    x = torch.randn(16, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for some in (x, x[:1], x):
            assert near(quick(some), network(some), 1e-4)
        convolutions = [layer for layer in quick.modules() if isinstance(layer, FusedConv)]
        taken = [layer for layer in convolutions if layer.way]
        assert taken and all(layer.conv.kernel_size == (3, 3) for layer in taken)
        points = [layer.points for layer in taken]
        quick(x)
    with torch.no_grad():  # in the same memory
        assert near(quick(x), network(x), 1e-4)
    for layer, before in zip(taken, points, strict=True):
        assert layer.points is before is not None
