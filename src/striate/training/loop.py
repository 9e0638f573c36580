"""The one training loop: plain PyTorch, a generator of rows.

A progress bar, a file, a test or a live page iterates the rows; nothing calls back. Inside a step the order
is always: learning rate, forward, loss, backward, clip, step, zero. The loss is read from the device only
where a row is made. A run stopped at any step and resumed gives the weights of the unbroken one: on the same
machine's CPU bit for bit, on a GPU, whose sums have no fixed order, to rounding: see data/loader.py and
checkpoint.py.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.loader import Loader
from striate.errors import BadSetting
from striate.smallmaps import SmallMaps
from striate.task import Target, Task
from striate.training.checkpoint import restore, save_state, save_tensors
from striate.training.optim import (
    AveragedWeights,
    make_optimizer,
    picture_scale,
    rate,
    rates_on,
    renormalise,
    set_rate,
)
from striate.training.recipes import Recipe
from striate.training.recompute import blocks, recomputed
from striate.training.recorded import Recorded
from striate.winograd import Winograd

Row = dict[str, Any]
"""`{"row": "step", epoch, step, steps, loss, lr, images_per_second}` while an epoch runs and
`{"row": "epoch", epoch, loss, lr, seconds, images_per_second, **figures}` at its end."""


class Step(nn.Module):
    """A network with its loss: images and target in, the mean loss of the batch out.

    What data-parallel wrappers wrap, so that everything that has parameters runs inside one `forward`.
    """

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe, device: torch.device) -> None:
        super().__init__()
        self.network, self.task, self.smoothing = network, task, recipe.label_smoothing
        self.precision = precision(recipe, device)
        self.blocks = blocks(network) if recipe.recompute else []
        self.convolutions = convolutions(network, recipe, device)

    def forward(self, images: Tensor, target: Target) -> Tensor:
        with self.precision, self.convolutions, recomputed(self.blocks, self.convolutions):
            output = self.task.forward(self.network, images, target)
            return torch.stack(list(self.task.loss(output, target, self.smoothing).values())).sum()


def precision(recipe: Recipe, device: torch.device) -> AbstractContextManager:
    """bfloat16 products where the recipe and the device want them, else float32."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if recipe.precision == "bfloat16" or (recipe.precision == "auto" and able):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def convolutions(network: nn.Module, recipe: Recipe, device: torch.device) -> AbstractContextManager:
    """On a CPU other ways to convolve, or to learn filters, where they may be faster; else PyTorch's."""
    if device.type != "cpu" or not recipe.channels_last or recipe.compile:
        return nullcontext()
    if recipe.precision == "bfloat16":
        return SmallMaps(network) if torch.cpu.get_capabilities().get("amx_bf16") else nullcontext()
    return Winograd(network) if recipe.winograd else nullcontext()


def first_convolution(network: nn.Module) -> nn.Conv2d | None:
    """The first that was built into it; None in a network without one."""
    return next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)


@dataclass
class Training:
    """One training: what it works on, and how far it has come."""

    network: nn.Module
    task: Task
    loader: Loader
    recipe: Recipe
    evaluate: Callable[[], dict[str, Any]]
    """Called at the end of an epoch with the weights to be judged in place -> figures for the epoch's row."""
    folder: Path | None = None
    """Where checkpoints go; None keeps none."""
    checkpoint_seconds: float = 30.0
    stop: Callable[[], bool] = lambda: False
    """Asked once after every step; True writes a checkpoint and ends the rows."""
    row_seconds: float = 0.25
    step: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    """Wall time of the training so far, over all its resumptions."""
    best: float = field(default=-math.inf, init=False)
    since_best: int = field(default=0, init=False)
    rows: list[Row] = field(default_factory=list, init=False)
    """The epochs' rows, those of before a resumption included."""
    fixed: list[nn.Parameter] | None = field(default=None, init=False)
    """What learns no longer, once that is decided."""

    def __post_init__(self) -> None:
        device = self.loader.device
        if self.recipe.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.network, self.recipe)
        self.average = AveragedWeights(self.network, self.recipe.ema) if self.recipe.ema else None
        self.loss_sum = torch.zeros((), device=device)
        self.bare: nn.Module = Step(self.network, self.task, self.recipe, device)
        if self.recipe.compile:
            self.bare.compile()
        self.arrange()
        if device.type == "cuda":  # recorded or not: the rates are rounded alike
            rates_on(device, self.optimizer)

    def arrange(self) -> None:
        """Wrap the step for several processes, or record it anew: for the parameters that learn now."""
        self.model = self.bare
        if self.loader.world > 1:
            gc.collect()  # an earlier wrapping still looks at the gradients until it is gone
            # init_sync stays on: every process starts from rank 0's weights.
            self.model = nn.parallel.DistributedDataParallel(self.bare)
        self.replays = Recorded() if self.recorded else None

    def freeze(self) -> None:
        """Fix the first convolution, for as long as `run` lasts."""
        first = first_convolution(self.network)
        self.fixed = [p for p in first.parameters() if p.requires_grad] if first is not None else []
        for parameter in self.fixed:
            parameter.requires_grad = False
        if self.fixed:
            self.arrange()

    @property
    def recorded(self) -> bool:
        """Whether steps may be replayed: classifiers' on one GPU, where nothing else arranges a step."""
        alone = self.loader.device.type == "cuda" and self.loader.world == 1
        free = alone and self.task.whole and not (self.recipe.compile or self.recipe.recompute)
        return free and bool(self.recipe.cuda_graph)

    @property
    def steps(self) -> int:
        """Optimizer steps in the whole training."""
        return self.recipe.epochs * self.loader.per_epoch

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience ended them."""
        tired = 0 < self.recipe.patience <= self.since_best
        return self.step >= self.steps or (tired and self.step % self.loader.per_epoch == 0)

    def run(self) -> Iterator[Row]:
        """Train from where it stands to the end, yielding rows.

        Raises:
            BadSetting: the loss is no longer a number.
        """
        try:
            yield from self._run()
        finally:
            for parameter in self.fixed or []:
                parameter.requires_grad = True
            self.fixed = None

    def _run(self) -> Iterator[Row]:
        self.began = time.perf_counter() - self.seconds
        saved = shown = time.perf_counter()
        order, per_epoch = None, self.loader.per_epoch
        self.model.train()
        while not self.finished:
            epoch, number = divmod(self.step, per_epoch)
            if order is None or number == 0:
                order = self.loader.order(epoch)
                timed, counted = time.perf_counter(), 0
                if number == 0:
                    self.loss_sum.zero_()
            set_rate(self.optimizer, rate(self.recipe, self.step, self.steps))
            if self.fixed is None and 0 < self.recipe.freeze_first * self.steps <= self.step:
                self.freeze()
            scale = picture_scale(self.recipe, self.step, self.steps)
            images, target = self.loader.batch(order, epoch, number, scale)
            self.learn(images, target, self.loader.weight(number))
            self.step += 1
            counted += len(images) * self.loader.world
            if self.average is not None:
                self.average.update(self.step)
            now, last = time.perf_counter(), number + 1 == per_epoch
            if last or now - shown >= self.row_seconds:
                loss = self.mean_loss(number + 1)
                speed = counted / (time.perf_counter() - timed)
                if last:
                    yield self.close_epoch(loss, speed)
                    saved = self.save()
                    timed, counted = time.perf_counter(), 0
                else:
                    shown = now
                    yield self.row("step", speed, loss=loss)
            stopping = self.stop()  # asked once a step: with several processes all of them answer together
            if stopping or now - saved >= self.checkpoint_seconds:
                saved = self.save()
            if stopping:
                return

    def learn(self, images: Tensor, target: Target, weight: float = 1.0) -> None:
        """One step, whose learning rate is set; recorded and replayed where that is faster."""
        if self.replays is not None:
            self.replays(self._learn, images, target, weight)
        else:
            self._learn(images, target, weight)

    def _learn(self, images: Tensor, target: Target, weight: float) -> None:
        """Forward, loss, backward, clip, step, zero."""
        self.loss_sum += self.gradients(images, target, weight)
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        if self.recipe.renorm:
            renormalise(self.network, self.recipe.renorm)
        self.optimizer.zero_grad()

    def gradients(self, images: Tensor, target: Target, weight: float = 1.0) -> Tensor:
        """Leave `weight` times the mean gradient of a batch in the parameters; returns its loss, detached."""
        if self.recipe.accumulate == 1:
            loss = self.model(images, target)
            loss = loss * weight if weight != 1 else loss
            loss.backward()
            return loss.detach()
        total = torch.zeros((), device=images.device)
        pieces = torch.arange(len(images)).tensor_split(min(self.recipe.accumulate, len(images)))
        for piece in pieces:
            rows = slice(int(piece[0]), int(piece[-1]) + 1)
            last = rows.stop == len(images)
            # Only the last piece's gradients are exchanged; it is decided where the forward begins.
            with nullcontext() if last or self.loader.world == 1 else self.model.no_sync():  # ty: ignore
                loss = self.model(images[rows], {k: v[rows] for k, v in target.items()})
                loss = loss * (weight * len(piece) / len(images))
                loss.backward()
            total += loss.detach()
        return total

    def mean_loss(self, batches: int) -> float:
        """The epoch's mean training loss so far: the one place that waits for the device."""
        loss = float(self.loss_sum) / batches
        if not math.isfinite(loss):
            raise BadSetting(
                f"the training loss became {loss} in epoch {1 + (self.step - 1) // self.loader.per_epoch}: "
                f"lower the learning rate (--lr {self.recipe.lr / 10:g}) or set --set clip=1."
            )
        return loss

    def row(self, kind: str, speed: float, **values: Any) -> Row:
        """A row about the present."""
        self.seconds = time.perf_counter() - self.began
        place = {
            "epoch": 1 + (self.step - 1) // self.loader.per_epoch,
            "step": self.step,
            "steps": self.steps,
        }
        lr = self.optimizer.param_groups[0]["peak"] * self.optimizer.share
        return {"row": kind, **place, "lr": lr, "images_per_second": speed, "seconds": self.seconds, **values}

    def close_epoch(self, loss: float, speed: float) -> Row:
        """The epoch's row, with figures where an evaluation is due."""
        epoch = self.step // self.loader.per_epoch
        due = epoch % self.recipe.evaluate == 0 or self.step == self.steps
        row = self.row("epoch", speed, loss=loss, **(self.judge() if due else {}))
        self.rows.append(row)
        return row

    def judge(self) -> dict[str, Any]:
        """The figures of the weights as they are, or of their average; the best are kept for patience."""
        with self.averaged():
            self.network.eval()
            figures = self.evaluate()
            figure = figures.get(self.task.figure, -math.inf)
            better = figure > self.best
            self.best, self.since_best = (figure, 0) if better else (self.best, self.since_best + 1)
            if better and self.recipe.patience and self.folder and self.loader.rank == 0:
                save_tensors(self.folder / "best.safetensors", self.network.state_dict())
            self.network.train()
        return figures

    def averaged(self) -> AbstractContextManager:
        """The averaged weights in the network's place, for as long as the block runs."""
        return _Swapped(self.average) if self.average is not None else nullcontext()

    def save(self) -> float:
        """Write a checkpoint (rank 0 alone); returns the time."""
        if self.folder is not None and self.loader.rank == 0:
            self.seconds = time.perf_counter() - self.began
            numbers = {key: getattr(self, key) for key in _NUMBERS}
            numbers["loss_sum"] = float(self.loss_sum)
            # JSON has no infinity: a best that was never set is left out.
            numbers = {k: v for k, v in numbers.items() if v != -math.inf}
            save_state(self.folder / "state.safetensors", self.network, self.optimizer, self.average, numbers)
        return time.perf_counter()

    def resume(self) -> bool:
        """Go back to the folder's checkpoint; False where there is none."""
        if self.folder is None or not (self.folder / "state.safetensors").is_file():
            return False
        numbers = restore(self.folder / "state.safetensors", self.network, self.optimizer, self.average)
        self.loss_sum.fill_(numbers.pop("loss_sum"))
        for key, value in numbers.items():
            setattr(self, key, value)
        return True


_NUMBERS = ("step", "seconds", "best", "since_best", "rows")


class _Swapped:
    """Weights and averages exchanged on the way in, and back on the way out."""

    def __init__(self, average: AveragedWeights) -> None:
        self.average = average

    def __enter__(self) -> None:
        self.average.swap()

    def __exit__(self, *_: object) -> None:
        self.average.swap()
