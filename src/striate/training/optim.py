"""Optimizers, schedules of rate and picture size, averaged weights, each a few lines over PyTorch's own.

The optimizers call PyTorch's functional updates: its classes import the compiler at their first step, which
takes longer than the first epoch of a small network.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adadelta import adadelta
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from striate.training.recipes import Recipe

Group = dict[str, Any]
"""`params`, `lr`, `peak` (the rate that the schedule scales), `weight_decay`, `fresh`, `update`.

`lr` is a number, on a GPU a tensor (): a recorded step would keep a number for ever."""
Memory = dict[str, Tensor]
"""What an optimizer remembers of one parameter, under PyTorch's names: `momentum_buffer`, `exp_avg`, ..."""
Fresh = Callable[[Tensor], Memory]
Update = Callable[[Group, list[Tensor], list[Tensor], list[Memory]], None]
"""(group, its parameters that have a gradient, those gradients, their memories): one step, in place."""


class Optimizer:
    """Groups of parameters, a memory for each parameter, and the updates that read both.

    `share` is what `set_rate` made of the peak rates.
    """

    def __init__(self, groups: list[Group]) -> None:
        self.param_groups, self.share = groups, 1.0
        self.state: dict[nn.Parameter, Memory] = {
            p: group["fresh"](p) for group in groups for p in group["params"]
        }

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if params:
                grads = [parameter.grad for parameter in params]
                group["update"](group, params, grads, [self.state[parameter] for parameter in params])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None


def make_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """SGD, AdamW, Adadelta or Muon; the first two fused: one kernel per step instead of several per tensor.

    Weight decay spares vectors and scalars (biases, norms), whose learning rate is `recipe.bias_lr` times the
    others'; that of what is built on a backbone, or else of `network.head`, is `recipe.head_lr` times as
    large. Muon is for the filters of convolutions outside of `network.head`; the other parameters take SGD
    with the same momentum.
    """
    head = {id(p) for p in getattr(network, "head", nn.Identity()).parameters()}
    inside = [part for name, part in network.named_modules() if name.rpartition(".")[2] == "backbone"]
    fast = {id(p) for p in network.parameters()} - {id(p) for p in inside[0].parameters()} if inside else head
    chosen: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            vector, last = parameter.ndim < 2, id(parameter) in head
            decay = 0.0 if vector else recipe.weight_decay
            peak = recipe.lr * (recipe.bias_lr if vector else 1.0)
            peak *= recipe.head_lr if id(parameter) in fast else 1.0
            filters = parameter.ndim == 4 and not last
            chosen.setdefault((peak, decay, filters), []).append(parameter)
    groups: list[Group] = []
    for (peak, decay, filters), parameters in chosen.items():
        fresh, update = _rules(recipe, filters)
        group = {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
        groups.append(group | {"fresh": fresh, "update": update})
    return Optimizer(groups)


def _rules(recipe: Recipe, filters: bool) -> tuple[Fresh, Update]:
    """What to remember of a parameter and how to update it, where they are filters or anything else."""
    if recipe.optimizer == "adamw":
        return _fresh_adamw, _adamw
    if recipe.optimizer == "adadelta":
        return _fresh_adadelta, _adadelta
    if recipe.optimizer == "muon" and filters:
        return _fresh_sgd, partial(_muon, momentum=recipe.momentum)
    fresh = _fresh_sgd if recipe.momentum else lambda _: {}
    return fresh, partial(_sgd, momentum=recipe.momentum, nesterov=recipe.nesterov)


def _fresh_sgd(parameter: Tensor) -> Memory:
    return {"momentum_buffer": torch.zeros_like(parameter)}


def _sgd(
    group: Group,
    params: list[Tensor],
    grads: list[Tensor],
    memory: list[Memory],
    momentum: float,
    nesterov: bool,
) -> None:
    sgd(
        params,
        grads,
        [m.get("momentum_buffer") for m in memory],
        fused=True,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        dampening=0.0,
        maximize=False,
    )


def _fresh_adamw(parameter: Tensor) -> Memory:
    zeros = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
    return {"step": torch.zeros((), device=parameter.device), **zeros}


def _adamw(group: Group, params: list[Tensor], grads: list[Tensor], memory: list[Memory]) -> None:
    """Loshchilov & Hutter 2017, with the usual betas."""
    adamw(
        params,
        grads,
        [m["exp_avg"] for m in memory],
        [m["exp_avg_sq"] for m in memory],
        [],
        [m["step"] for m in memory],
        fused=True,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=1e-8,
        maximize=False,
    )


def _fresh_adadelta(parameter: Tensor) -> Memory:
    zeros = {key: torch.zeros_like(parameter) for key in ("square_avg", "acc_delta")}
    return {"step": torch.zeros((), device=parameter.device), **zeros}


def _adadelta(group: Group, params: list[Tensor], grads: list[Tensor], memory: list[Memory]) -> None:
    """Zeiler 2012, with the constants of its section 4."""
    adadelta(
        params,
        grads,
        [m["square_avg"] for m in memory],
        [m["acc_delta"] for m in memory],
        [m["step"] for m in memory],
        capturable=isinstance(group["lr"], Tensor),
        lr=group["lr"],
        rho=0.95,
        eps=1e-8,
        weight_decay=group["weight_decay"],
        maximize=False,
    )


def _muon(
    group: Group, params: list[Tensor], grads: list[Tensor], memory: list[Memory], momentum: float
) -> None:
    """Jordan et al. 2024: the step made orthogonal, on filters whose length stays 1 on average.

    The columns of a step may stand in any order: they are taken as they lie in memory, channels last.
    """
    for parameter, grad, kept in zip(params, grads, memory, strict=True):
        buffer = kept["momentum_buffer"].mul_(momentum).add_(grad)
        step = grad.add(buffer, alpha=momentum).permute(0, 2, 3, 1)
        step = orthogonal(step.flatten(1)).view(step.shape).permute(0, 3, 1, 2)
        lr = group["lr"]
        parameter.mul_((1 - lr * group["weight_decay"]) * len(parameter) ** 0.5 / parameter.norm())
        if isinstance(lr, Tensor):
            parameter.addcmul_(step, lr, value=-1)
        else:
            parameter.add_(step, alpha=-lr)


def orthogonal(matrix: Tensor, rounds: int = 3) -> Tensor:
    """The matrix (rows, columns) with its singular values brought near 1, in 0.5 to 1.5 or so.

    Newton and Schulz's iteration with the polynomial of Jordan et al. 2024, whose slope at 0 is steep.
    """
    x = matrix / (matrix.norm() + 1e-7)
    x = x if len(x) <= x.shape[1] else x.T
    x = _polynomial(x @ x.T, rounds) @ x
    return x if x.shape == matrix.shape else x.T


def _polynomial(square: Tensor, rounds: int) -> Tensor:
    """What so many rounds multiply x by, from x xᵀ: products of small matrices only, where x has few rows."""
    factor = torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315)
    factor.diagonal().add_(3.4445)
    return factor if rounds == 1 else _polynomial(factor @ square @ factor, rounds - 1) @ factor


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


def set_rate(optimizer: Optimizer, share: float) -> None:
    """Give every group `share` of its peak learning rate."""
    if share == optimizer.share:
        return  # on a GPU each group's would be a kernel
    optimizer.share = share
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(group["peak"] * share)
        else:
            group["lr"] = group["peak"] * share


def rates_on(device: torch.device, optimizer: Optimizer) -> None:
    """Keep the groups' rates as tensors on the GPU, where a recorded step reads them."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["peak"], device=device)


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


def state_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as named tensors: `3.momentum_buffer` belongs to its fourth parameter."""
    memories = enumerate(optimizer.state.values())
    return {f"{index}.{key}": tensor for index, memory in memories for key, tensor in memory.items()}


def restore_state(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give a fresh optimizer the memory that `state_tensors` took, in its parameters' memory layout."""
    for name, tensor in state_tensors(optimizer).items():
        tensor.copy_(tensors[name])
