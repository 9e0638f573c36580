"""What a detector minimises: a one-stage head's classes and boxes; two stages bring their own terms."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from striate.task import Target
from striate.tasks.detect.assign import assign, within
from striate.tasks.detect.boxes import apart
from striate.tasks.detect.data import things
from striate.tasks.detect.onestage import OneStage

BOXES = 2.5
"""How much the boxes' term counts beside the classes'."""


def forward(network: nn.Module, images: Tensor, target: Target | None) -> Any:
    """`Dense` of one stage. Two stages answer in detections, and in training, where they need the truth to
    choose what to learn from, in the terms of their loss."""
    if target is not None and not isinstance(network, OneStage):
        return network(images, target)
    return network(images)


def loss(output: Any, target: Target, smoothing: float = 0.0) -> dict[str, Tensor]:
    """`Dense` and the truth -> {"class", "box"}; terms that are computed already stay as they are.

    Every class at every cell is a yes-or-no question, answered in cross-entropy against the quality that
    `assign` gives it, less the entropy of that quality, so that 0 is a perfect answer; a box's term is 1
    minus its generalised IoU (Rezatofighi et al. 2019), weighted by that quality. Both are sums over cells,
    divided by the sum of the qualities in the batch. `smoothing` takes its share from the wanted answers, as
    there is no other class that it could be given to.
    """
    if isinstance(output, dict):
        return output
    logits, boxes, cells = output.logits.float(), output.boxes, output.cells
    real = things(target)
    share = assign(logits.sigmoid(), boxes, cells, target["boxes"], target["labels"], real)
    label = target["labels"].gather(1, share.thing)
    sure = (1 - smoothing) * share.quality
    wanted = torch.zeros_like(logits).scatter_(2, label.clamp(min=0)[..., None], sure[..., None])
    total = share.quality.sum().clamp(min=1)
    cross = binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(2)
    cross = cross + torch.xlogy(sure, sure) + torch.xlogy(1 - sure, 1 - sure)
    ignored = (within(target["boxes"], cells) & target["crowd"][..., None]).any(1) & (share.quality == 0)
    learned = (share.quality > 0).nonzero(as_tuple=True)
    truth = target["boxes"].gather(1, share.thing[..., None].expand(-1, -1, 4))[learned]
    off = apart(boxes[learned], truth)
    return {
        "class": cross.masked_fill(ignored, 0).sum() / total,
        "box": BOXES * (off * share.quality[learned]).sum() / total,
    }
