"""Where the time of a training step goes: each layer beside what the machine can do at most.

A layer is timed alone, forward and backward, on what it is fed in a real batch; the machine's peak is that of
a large matrix product, measured in the same run, and a convolution with fewer multiplications than it is
counted with (winograd) may be above it. What is no module (additions, the loss, the optimizer) is the
difference to the whole step.
"""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from striate.experiment import Experiment
from striate.models.folding import plain_part
from striate.tracing import trace
from striate.training.forecast import forecast
from striate.training.loop import convolutions, precision


@dataclass(frozen=True)
class LayerTime:
    """One layer, seconds for a whole batch."""

    name: str
    kind: str
    output: tuple[int, ...]
    """Of one picture."""
    multiply_adds: int
    """Of one picture, forward."""
    passes: int
    """How often a step runs them: forward, for the weights, and for the input unless that is the picture."""
    forward: float
    backward: float


@dataclass(frozen=True)
class Profile:
    """One step of a training, taken apart."""

    peak: float
    """Multiply-adds a second of a large matrix product, twice: FLOP/s."""
    batch: int
    step: float
    """Seconds of a whole step."""
    layers: tuple[LayerTime, ...]
    speeds: dict[str, dict[int, float]]
    """Layout -> batch -> pictures a second."""

    def flops(self, layer: LayerTime) -> float:
        """FLOP/s that a layer reaches, forward and backward."""
        return 2 * layer.passes * layer.multiply_adds * self.batch / (layer.forward + layer.backward)

    @property
    def fastest(self) -> tuple[str, int]:
        """Layout and batch with the most pictures a second."""
        return max(
            ((layout, batch) for layout, row in self.speeds.items() for batch in row),
            key=lambda pair: self.speeds[pair[0]][pair[1]],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; each layer with its `share_of_peak`."""
        layers = [
            asdict(layer) | {"share_of_peak": float(f"{self.flops(layer) / self.peak:.3g}")}
            for layer in self.layers
        ]
        speeds = {
            layout: {str(b): round(s, 1) for b, s in row.items()} for layout, row in self.speeds.items()
        }
        layout, batch = self.fastest
        return {
            "peak_flops": self.peak,
            "batch": self.batch,
            "step_seconds": self.step,
            "layers": layers,
            "images_per_second": speeds,
            "fastest": {"layout": layout, "batch": batch},
        }


def profile(setup: Experiment, rounds: int = 5) -> Profile:
    """Time a batch of what `setup` would train: by layer, and whole in two layouts and three batches."""
    images, _ = setup.loader.batch(setup.loader.order(0), 0, 0)
    network = copy.deepcopy(setup.network).train()
    if setup.recipe.channels_last:
        network.to(memory_format=torch.channels_last)
    way, cast = convolutions(network, setup.recipe, images.device), precision(setup.recipe, images.device)
    speeds = {
        layout: {batch: _speed(setup, layout == "channels-last", batch) for batch in _batches(setup)}
        for layout in ("channels-last", "contiguous")
    }
    layout = "channels-last" if setup.recipe.channels_last else "contiguous"
    with cast:
        layers = tuple(_layers(plain_part(network), images, rounds, way))
    return Profile(
        peak=peak(images.device, torch.bfloat16 if isinstance(cast, torch.autocast) else torch.float32),
        batch=len(images),
        step=len(images) / speeds[layout][setup.recipe.batch],
        layers=layers,
        speeds=speeds,
    )


def peak(device: torch.device, dtype: torch.dtype = torch.float32, rounds: int = 5) -> float:
    """FLOP/s of a product of two square matrices that are large for the device: the best of `rounds`."""
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(_timed(device, lambda: a @ a)[0] for _ in range(rounds))


def _batches(setup: Experiment) -> list[int]:
    """Once the recipe's batch, and half and twice of it as far as there are pictures."""
    batch = setup.recipe.batch
    others = [size for size in (batch // 2, 2 * batch) if 2 <= size <= len(setup.loader.store)]
    return sorted([batch, *others])


def _speed(setup: Experiment, channels_last: bool, batch: int) -> float:
    """Pictures a second of whole steps."""
    recipe = replace(setup.recipe, channels_last=channels_last, batch=batch, epochs=1, small=0.0)
    loader = replace(setup.loader, channels_last=channels_last, size=batch)
    return len(loader.store) / forecast(setup.network, setup.task, loader, recipe, 0).seconds


def _layers(network: nn.Module, images: Tensor, rounds: int, way: AbstractContextManager) -> list[LayerTime]:
    """Every module without children that ran, in the order it ran; `way` is how convolutions are computed."""
    fed: dict[str, Tensor] = {}
    parts = {name: part for name, part in network.named_modules() if not any(part.children())}
    hooks = [
        part.register_forward_pre_hook(lambda _, x, name=name: fed.setdefault(name, x[0].detach().clone()))
        for name, part in parts.items()
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    rows = trace(network, tuple(images.shape[1:])).rows
    costs = {row.name: row.multiply_adds for row in rows}
    kinds = {row.name: row.kind for row in rows}
    found = []
    for number, (name, x) in enumerate(fed.items()):
        with way:
            forward, backward, output = _alone(parts[name], x, wants_input=number > 0, rounds=rounds)
        kind = kinds.get(name, type(parts[name]).__name__.lower())
        size, passes = tuple(output.shape[1:]), 3 if number else 2
        found.append(LayerTime(name, kind, size, costs.get(name, 0), passes, forward, backward))
    return found


def _alone(part: nn.Module, x: Tensor, wants_input: bool, rounds: int) -> tuple[float, float, Tensor]:
    """(seconds forward, seconds backward, output) of one layer: the best of `rounds`."""
    x.requires_grad_(wants_input)
    wanted = [t for t in (x, *part.parameters()) if t.requires_grad]
    forward, backward = [], []
    for _ in range(rounds):
        mine = x.clone()  # a layer that works in place must not change what the next round is fed
        seconds, output = _timed(x.device, partial(part, mine))
        forward.append(seconds)
        if wanted and output.requires_grad:
            ones = torch.ones_like(output)
            backward.append(
                _timed(
                    x.device, lambda y=output, g=ones: torch.autograd.grad(y, wanted, g, allow_unused=True)
                )[0]
            )
    return min(forward), min(backward, default=0.0), output.detach()


def _timed(device: torch.device, run: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, result
