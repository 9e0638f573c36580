"""What a training will take, before it starts: a few steps are timed on a copy of the network."""

import copy
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn

from striate.data.loader import Loader
from striate.data.store import free_memory
from striate.memory import Storages, keep_memory
from striate.task import Task
from striate.training import parallel
from striate.training.loop import Training
from striate.training.optim import picture_scale
from striate.training.recipes import Recipe


@dataclass(frozen=True)
class Forecast:
    """Expected wall time and memory of a training."""

    seconds: float
    bytes: int
    """The pictures, the network, its gradients, the optimizer's memory and the activations of a step."""

    def __str__(self) -> str:
        return f"about {duration(self.seconds)} and {self.bytes / 1e9:.1f} GB"


def forecast(network: nn.Module, task: Task, loader: Loader, recipe: Recipe, store_bytes: int) -> Forecast:
    """Count the bytes of one step and time some more.

    The network itself is not touched and no random number of the training is used up. From the first of the
    steps on, freed memory is kept where there is plenty of it.
    """
    uncompiled = replace(recipe, compile=False)
    trial = Training(copy.deepcopy(network), task, loader, uncompiled, evaluate=dict, row_seconds=1e9)
    order = loader.order(0)
    storages = Storages()
    memory = [tensor for memory in trial.optimizer.state.values() for tensor in memory.values()]
    average = trial.average.average if trial.average else ()
    for tensor in (*trial.network.parameters(), *trial.network.buffers(), *memory, *average):
        storages.take(tensor)
    times = []
    for number in range(9 if trial.recorded else 4):
        began = time.perf_counter()
        with storages if number == 0 else nullcontext():
            # Batches of one size are recorded and replayed within so few steps.
            images, target = loader.batch(order, 0, 0 if trial.recorded else number % loader.per_epoch)
            trial.learn(images, target, 1.0)
        if loader.device.type == "cuda":
            torch.cuda.synchronize(loader.device)
        if number == 0:
            keep_memory(storages.peak * loader.world, free_memory())
        times.append(time.perf_counter() - began)
        if parallel.agree(sum(times) > 5):
            break
    step = min(times[1:] or times)
    # A picture costs as much as it has pixels.
    share = sum(picture_scale(recipe, percent, 100) ** 2 for percent in range(100)) / 100
    return Forecast(step * trial.steps * share, storages.peak + store_bytes)


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def trial_run(
    network: nn.Module, task: Task, loader: Loader, recipe: Recipe, steps: int = 200
) -> tuple[float, float, int]:
    """Learn one batch by heart: (first loss, last loss, steps taken). Stops at a hundredth of the first.

    No augmentation, no label smoothing, no weight decay: what is left is whether gradients reach the weights.
    The rate falls from the middle on: steps of one length would circle around the answer.
    """
    calm = replace(
        recipe,
        label_smoothing=0.0,
        weight_decay=0.0,
        warmup=0.0,
        schedule="constant",
        ema=0.0,
        compile=False,
    )
    still = replace(loader, size=min(loader.size, 32), shift=0, flip=False, area=1.0, colour=0.0)
    trial = Training(copy.deepcopy(network), task, still, calm, evaluate=dict)
    images, target = still.batch(still.order(0), 0, 0)
    trial.model.train()
    first = last = 0.0
    for step in range(1, steps + 1):
        last = float(trial.gradients(images, target))
        first = first or last
        if last <= first / 100:
            return first, last, step
        nn.utils.clip_grad_norm_(trial.network.parameters(), 1.0)
        for group in trial.optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, 2 - 2 * step / steps)
        trial.optimizer.step()
        trial.optimizer.zero_grad()
    return first, last, steps
