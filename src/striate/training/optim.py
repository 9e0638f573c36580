"""Optimizers, schedules of rate and picture size, averaged weights, each a few lines over PyTorch's own."""

import math

import torch
from torch import Tensor, nn

from striate.training.recipes import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD, AdamW or Adadelta; the first two fused: one kernel per step instead of several per tensor.

    Weight decay spares vectors and scalars (biases, norms). Parameters under `network.head` take
    `recipe.head_lr` times the learning rate. Each group's `peak` is the rate that the schedule scales.
    """
    head = {id(p) for p in getattr(network, "head", nn.Identity()).parameters()}
    chosen: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            peak = recipe.lr * (recipe.head_lr if id(parameter) in head else 1.0)
            chosen.setdefault((peak, decay), []).append(parameter)
    groups = [
        {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
        for (peak, decay), parameters in chosen.items()
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    if recipe.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, rho=0.95, eps=1e-8)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=True)


def rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate of step `step` of `total` as a share of its peak, in 0..1: a pure function."""
    warm = recipe.warmup * total
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1.0, total - warm)
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "linear":
        return 1 - done
    if recipe.schedule == "step":
        return 0.1 ** sum(step >= milestone * total for milestone in recipe.milestones)
    if recipe.schedule == "exponential":
        return 0.96 ** (step / total * recipe.epochs // 8)
    return 1.0


def picture_scale(recipe: Recipe, step: int, total: int) -> float:
    """What the pictures of step `step` of `total` are scaled by: 1/2, 5/8, 3/4, 7/8, then 1."""
    if step >= recipe.small * total:
        return 1.0
    return 0.5 + 0.125 * int(4 * step / (recipe.small * total))


@torch.no_grad()
def renormalise(network: nn.Module, limit: float) -> None:
    """Scale convolution filters whose root mean square is above `limit` back to it (Zeiler & Fergus 2013)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            size = layer.weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            layer.weight.mul_((limit / size).clamp(max=1.0))


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group `share` of its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


class AveragedWeights:
    """An exponential moving average of a network's weights (Polyak & Juditsky 1992), statistics included.

    The decay starts low, (1 + t)/(10 + t), so that the average forgets the random start quickly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.now = [t for t in network.state_dict().values() if t.is_floating_point()]
        self.average = [t.detach().clone() for t in self.now]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [t.detach() for t in self.now], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their average: once before an evaluation, once after."""
        for now, average in zip(self.now, self.average, strict=True):
            kept = now.clone()
            now.copy_(average)
            average.copy_(kept)


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as named tensors: `3.momentum_buffer` belongs to its fourth parameter."""
    found: dict[str, Tensor] = {}
    for index, values in optimizer.state_dict()["state"].items():
        found |= {f"{index}.{key}": v for key, v in values.items() if isinstance(v, Tensor)}
    return found


def restore_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give a fresh optimizer the memory that `state_tensors` took, in its parameters' memory layout."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        owner = parameters[int(index)]
        like = torch.empty_like(owner) if tensor.shape == owner.shape else torch.empty_like(tensor)
        optimizer.state[owner][key] = like.copy_(tensor)
