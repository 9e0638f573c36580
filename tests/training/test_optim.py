"""Optimizers, schedules and averages against their definitions."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from striate import models
from striate.errors import BadSetting
from striate.tasks import TASKS
from striate.training.optim import (
    AveragedWeights,
    Optimizer,
    make_optimizer,
    orthogonal,
    picture_scale,
    rate,
    renormalise,
    restore_state,
    state_tensors,
)
from striate.training.recipes import Recipe, recipe_from


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.norm(self.body(x)).mean((2, 3)))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "step", "constant"])
def test_the_rate_climbs_to_its_peak_and_never_above(schedule: str) -> None:
    recipe = recipe_from("fast", {"schedule": schedule, "warmup": 0.2})
    rates = [rate(recipe, step, 100) for step in range(100)]
    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[20] == pytest.approx(1.0, abs=0.02)
    if schedule in ("cosine", "linear"):
        assert rates[-1] < 0.02 and rates[60] == pytest.approx(0.5, abs=0.01)
    if schedule == "step":
        assert rates[49] == 1.0 and rates[50] == pytest.approx(0.1) and rates[80] == pytest.approx(0.01)


def test_decay_spares_vectors_and_the_head_learns_faster() -> None:
    network = Small()
    optimizer = make_optimizer(network, Recipe(lr=0.1, head_lr=10.0, weight_decay=0.5))
    found = {id(p): (g["peak"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found[id(network.body.weight)] == (0.1, 0.5)
    assert found[id(network.body.bias)] == (0.1, 0.0)
    assert found[id(network.norm.weight)] == (0.1, 0.0)
    assert found[id(network.head.weight)] == (1.0, 0.5)
    assert len(found) == 6


def test_what_is_built_on_a_backbone_is_its_head() -> None:
    network = TASKS["pose"].build(models.network("resnet20"), {"joints": ["a", "b"], "classes": ["person"]})
    optimizer = make_optimizer(network, Recipe(lr=0.1, head_lr=10.0))
    found = {id(p): g["peak"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in network.named_parameters():
        assert found[id(parameter)] == (0.1 if "backbone." in name else 1.0), name


def one_step(network: nn.Module, optimizer: Optimizer | torch.optim.Optimizer) -> None:
    torch.manual_seed(7)
    network(torch.randn(4, 1, 5, 5)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_restored_optimizer_takes_the_same_step(name: str) -> None:
    torch.manual_seed(0)
    network = Small().to(memory_format=torch.channels_last)
    recipe = Recipe(optimizer=name, lr=0.01)
    optimizer = make_optimizer(network, recipe)
    one_step(network, optimizer)
    twin = Small().to(memory_format=torch.channels_last)
    twin.load_state_dict(network.state_dict())
    other = make_optimizer(twin, recipe)
    restore_state(other, {k: v.clone().contiguous() for k, v in state_tensors(optimizer).items()})
    one_step(network, optimizer)
    one_step(twin, other)
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("recipe", "theirs"),
    [
        (Recipe(optimizer="sgd", lr=0.1, weight_decay=0.01), {"momentum": 0.9, "nesterov": True}),
        (Recipe(optimizer="sgd", lr=0.1, weight_decay=0.01, nesterov=False), {"momentum": 0.9}),
        (Recipe(optimizer="sgd", lr=0.1, weight_decay=0.01, momentum=0.0), {}),
        (Recipe(optimizer="adamw", lr=0.1, weight_decay=0.01), {}),
        (Recipe(optimizer="adadelta", lr=0.1, weight_decay=0.01), {"rho": 0.95, "eps": 1e-8}),
    ],
)
def test_three_steps_are_those_of_pytorchs_optimizer(recipe: Recipe, theirs: dict) -> None:
    torch.manual_seed(0)
    network, twin = Small(), Small()
    twin.load_state_dict(network.state_dict())
    weights = [p for p in twin.parameters() if p.ndim > 1]
    spared = [p for p in twin.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 0.01}, {"params": spared, "weight_decay": 0.0}]
    peer = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW, "adadelta": torch.optim.Adadelta}
    reference = peer[recipe.optimizer](groups, lr=0.1, **theirs)
    optimizer = make_optimizer(network, recipe)
    pairs = list(zip(network.parameters(), twin.parameters(), strict=True))
    for _ in range(3):
        for a, b in pairs:
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        optimizer.step()
        reference.step()
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_the_average_follows_its_definition_and_swaps_back() -> None:
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = AveragedWeights(network, 0.5)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.update(step=100)  # decay is min(0.5, 101/110)
    average.swap()
    assert torch.allclose(network.weight, torch.tensor(0.5))
    average.swap()
    assert torch.allclose(network.weight, torch.tensor(1.0))


def test_filters_beyond_the_radius_are_brought_to_it_and_no_others() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, 0.05)
        net[0].weight[3] *= 50
        net[2].weight *= 50
    before = [weight.clone() for weight in net.parameters()]
    renormalise(net, 0.1)
    after = list(net.parameters())
    assert after[0][3].square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-4)
    torch.testing.assert_close(after[0][3] / after[0][3].norm(), before[0][3] / before[0][3].norm())
    others = [0, 1, 2, 4, 5, 6, 7]
    assert torch.equal(after[0][others], before[0][others])
    assert all(torch.equal(a, b) for a, b in zip(after[1:], before[1:], strict=True))


def test_pictures_grow_in_four_steps() -> None:
    recipe = Recipe(small=0.8)
    assert [picture_scale(recipe, step, 10) for step in range(10)] == [
        *(0.5, 0.5, 0.625, 0.625, 0.75, 0.75, 0.875, 0.875, 1.0, 1.0)
    ]
    assert picture_scale(Recipe(), 0, 10) == 1.0


def test_adadelta_and_its_rate_are_the_papers() -> None:
    """Zeiler 2012, algorithm 1: the first step is sqrt(eps) / sqrt(E[g^2] + eps) times the gradient."""
    weight = nn.Parameter(torch.zeros(1, 1))
    optimizer = make_optimizer(
        nn.ParameterList([weight]), recipe_from("paper", {"weight_decay": 0.0}, "convnetjs-cifar10")
    )
    weight.grad = torch.full((1, 1), 2.0)
    optimizer.step()
    eps = 1e-8
    assert weight.item() == pytest.approx(-2 * (eps**0.5) / (0.05 * 4 + eps) ** 0.5, rel=1e-3)


def test_a_papers_recipe_is_found_by_family_and_refused_by_name() -> None:
    assert recipe_from("paper", {}, "vgg16-bn").epochs == 74
    assert (
        recipe_from("paper", {}, "resnet20").epochs == 164
        and recipe_from("paper", {}, "resnet18").epochs == 120
    )
    with pytest.raises(BadSetting, match="recipe paper: lenet5 has none; alexnet, zfnet"):
        recipe_from("paper", {}, "lenet5")


@pytest.mark.parametrize("shape", [(8, 27), (27, 8)])
def test_orthogonal_brings_singular_values_near_one_and_keeps_directions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    made = orthogonal(matrix)
    left, values, right = torch.linalg.svd(made, full_matrices=False)
    assert values.min() > 0.4 and values.max() < 1.6
    ours = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(made, ours.U @ (ours.U.T @ made @ ours.Vh.T).diag().diag() @ ours.Vh)


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (16, 16)])
def test_orthogonal_is_the_published_iteration(shape: tuple[int, int]) -> None:
    """Jordan et al. 2024 write it in steps of x; in double precision the order of products is no matter."""
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    x = matrix / matrix.norm()
    for _ in range(3):
        a = x @ x.T
        x = 3.4445 * x - 4.7750 * a @ x + 2.0315 * a @ a @ x
    torch.testing.assert_close(orthogonal(matrix), x, rtol=1e-5, atol=1e-6)


def test_muon_turns_filters_and_leaves_the_rest_to_sgd() -> None:
    torch.manual_seed(0)
    network, recipe = Small(), recipe_from("fast", {"optimizer": "muon", "lr": 0.1, "weight_decay": 0})
    twin = Small()
    twin.load_state_dict(network.state_dict())
    optimizer, plain = make_optimizer(network, recipe), make_optimizer(twin, replace(recipe, optimizer="sgd"))
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    before = network.body.weight.detach().clone()
    optimizer.step()
    plain.step()
    scaled = before * len(before) ** 0.5 / before.norm()
    step = orthogonal(1.9 * network.body.weight.grad.flatten(1)).view_as(before)
    torch.testing.assert_close(network.body.weight.detach(), scaled - 0.1 * step)
    for name in ("body.bias", "norm.weight", "head.weight", "head.bias"):
        assert torch.equal(network.get_parameter(name), twin.get_parameter(name))
