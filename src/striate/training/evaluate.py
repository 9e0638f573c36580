"""One pass over a store without learning: figures, and the raw outputs where somebody wants to look."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.augment import centre, normalise
from striate.data.loader import layout, to_device
from striate.data.prepare import Prepare
from striate.data.stream import Pictures
from striate.errors import BadData, BadSetting
from striate.task import Facts, Task

EVALUATION_PIXELS = 256 * 128 * 128
"""Pixels of a forward pass's pictures, 256 of them at most, on a GPU 2,048; no figure depends on it."""


@torch.inference_mode()
def outputs(
    network: nn.Module,
    task: Task,
    store: Pictures,
    prepare: Prepare,
    *,
    batch: int | None = None,
    tta: bool = False,
    refine: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The network's output and the truth for batch after batch, in the store's order.

    `share` = (rank, world) takes one process's part of the pictures. With `tta` the outputs for each picture
    and its mirror image are averaged; with `refine` they follow the picture's outlines.

    Raises:
        BadSetting: `tta` or `refine`, and the application has no such way.
    """
    mirror, follow = way(task, "mirror", tta), way(task, "refine", refine)
    network.eval()
    parameter = next(network.parameters())
    rank, world = share
    _, height, width = prepare.input
    most = 2048 if parameter.is_cuda else 256
    batch = batch or max(1, min(most, EVALUATION_PIXELS // (height * width)))
    parts = torch.arange(rank, len(store), world).split(batch)
    for number, rows in enumerate(parts):
        for soon in parts[number : number + 1 + store.lead]:
            store.ahead(soon)
        images, target = store.batch(rows)
        if len(images) == 0:
            continue
        pixels = centre(images.to(parameter.device), prepare)
        images = normalise(pixels, prepare, layout(True))
        output = task.forward(network, images, None)
        if mirror is not None:
            output = (output + mirror(task.forward(network, images.flip(-1), None))) / 2
        if follow is not None:
            output = follow(output, pixels)
        yield output, to_device(target, parameter.device)


def way(task: Task, name: str, wanted: bool) -> Any:
    """The task's function `name` where it is wanted, else None; refuses where it has none."""
    found = getattr(task, name) if wanted else None
    if wanted and found is None:
        raise BadSetting(f"{'tta' if name == 'mirror' else name}: {task.name} has no such way to answer.")
    return found


def figures(
    network: nn.Module,
    task: Task,
    facts: Facts,
    store: Pictures,
    prepare: Prepare,
    *,
    batch: int | None = None,
    tta: bool = False,
    refine: bool = False,
    share: tuple[int, int] = (0, 1),
) -> dict[str, Any]:
    """What the task's metric makes of the whole store; with several processes each works on its share."""
    metric = task.metric(facts)
    for output, target in outputs(
        network, task, store, prepare, batch=batch, tta=tta, refine=refine, share=share
    ):
        metric.update(output, target)
    if share[1] > 1:
        gathered: list[Any] = [None] * share[1]
        torch.distributed.all_gather_object(gathered, metric)
        metric = gathered[0]
        for other in gathered[1:]:
            metric.merge(other)
    return metric.compute()


def everything(
    network: nn.Module, task: Task, store: Pictures, prepare: Prepare, *, tta: bool = False
) -> tuple[Any, dict[str, Any]]:
    """What the task keeps of every output, (N, ...) or a list of N on the CPU, and the truth of the pictures.

    A streamed store's damaged pictures are not among them. Raises `BadData` where not one can be read.
    """
    answers, truth = [], []
    for output, target in outputs(network, task, store, prepare, tta=tta):
        answers.append(_on_cpu(task.keep(output)))
        truth.append(to_device(target, torch.device("cpu")))
    if not answers:
        raise BadData(f"none of the {len(store)} pictures can be read; the first: {store.left_out[0]}")
    return _joined(answers), {key: _joined([part[key] for part in truth]) for key in truth[0]}


def _on_cpu(output: Any) -> Any:
    """Half precision becomes float32; whole numbers stay, and lists are on the CPU already."""
    if not isinstance(output, Tensor):
        return output
    return (output.float() if output.is_floating_point() else output).cpu()


def _joined(parts: list[Any]) -> Any:
    """A field's values batch after batch as one tensor, or one list: also of tensors of several shapes, as a
    stream has them, whose batches have room for their own fullest picture."""
    if isinstance(parts[0], Tensor) and len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    return [value for part in parts for value in part]
