"""One pass over a store without learning: figures, and the raw outputs where somebody wants to look."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.augment import centre, normalise
from striate.data.loader import layout, to_device
from striate.data.prepare import Prepare
from striate.data.stream import Pictures
from striate.errors import BadData
from striate.task import Facts, Task

EVALUATION_BATCH = 256
"""Pictures a forward pass; no figure depends on it."""


@torch.inference_mode()
def outputs(
    network: nn.Module,
    task: Task,
    store: Pictures,
    prepare: Prepare,
    *,
    batch: int = EVALUATION_BATCH,
    tta: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The network's output and the truth for batch after batch, in the store's order.

    `share` = (rank, world) takes one process's part of the pictures. With `tta` the outputs for each picture
    and its mirror image are averaged, which suits outputs that do not point at places.
    """
    network.eval()
    parameter = next(network.parameters())
    rank, world = share
    parts = torch.arange(rank, len(store), world).split(batch)
    for number, rows in enumerate(parts):
        for soon in parts[number : number + 1 + store.lead]:
            store.ahead(soon)
        images, target = store.batch(rows)
        if len(images) == 0:
            continue
        images = normalise(centre(images.to(parameter.device), prepare), prepare, layout(True))
        output = task.forward(network, images, None)
        if tta:
            output = (output + task.forward(network, images.flip(-1), None)) / 2
        yield output, to_device(target, parameter.device)


def figures(
    network: nn.Module,
    task: Task,
    facts: Facts,
    store: Pictures,
    prepare: Prepare,
    *,
    batch: int = EVALUATION_BATCH,
    tta: bool = False,
    share: tuple[int, int] = (0, 1),
) -> dict[str, Any]:
    """What the task's metric makes of the whole store; with several processes each works on its share."""
    metric = task.metric(facts)
    for output, target in outputs(network, task, store, prepare, batch=batch, tta=tta, share=share):
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
) -> tuple[Tensor, dict[str, Any]]:
    """Every output, (N, ...) on the CPU in float32, and the truth of the same pictures: for the report.

    A streamed store's damaged pictures are not among them. Raises `BadData` where not one can be read.
    """
    answers, truth = [], []
    for output, target in outputs(network, task, store, prepare, tta=tta):
        answers.append(output.float().cpu())
        truth.append(to_device(target, torch.device("cpu")))
    if not answers:
        raise BadData(f"none of the {len(store)} pictures can be read; the first: {store.left_out[0]}")
    return torch.cat(answers), {key: _joined([part[key] for part in truth]) for key in truth[0]}


def _joined(parts: list[Any]) -> Any:
    """A field's values batch after batch as one tensor, or one list."""
    return torch.cat(parts) if isinstance(parts[0], Tensor) else [value for part in parts for value in part]
