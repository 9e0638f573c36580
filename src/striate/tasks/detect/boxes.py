"""What boxes x1, y1, x2, y2 have in common: their overlap, how far they are apart, which of many to keep."""

import torch
from torch import Tensor


def pairwise(one: Tensor, other: Tensor) -> Tensor:
    """Boxes (B, G, 4) and (B, A, 4) -> intersection over union (B, G, A)."""
    left, top, right, bottom = one[:, :, None].unbind(-1)
    x1, y1, x2, y2 = other[:, None].unbind(-1)
    common = (torch.minimum(right, x2) - torch.maximum(left, x1)).clamp_(min=0)
    common *= (torch.minimum(bottom, y2) - torch.maximum(top, y1)).clamp_(min=0)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (one, other)]
    return common / (areas[0][:, :, None] + areas[1][:, None] - common).clamp(min=1e-9)


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Boxes (n, 4) and (n, 4) -> 1 minus their generalised IoU (n,), in 0..2 (Rezatofighi et al. 2019).

    That is the IoU less the share of the smallest box around both that belongs to neither: boxes that do not
    touch are told which way to go.
    """
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    union = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - common
    around = torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])
    around = around.prod(1)
    return 1 - common / (union + 1e-7) + (around - union) / (around + 1e-7)


def surest(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression: boxes (n, 4), scores (n,), labels (n,) -> places that stay, the surest first.

    A box goes where a surer one of its class stays that it overlaps by more than `overlap`. Which stay is
    asked of all at once until nothing changes, as often as the longest chain of such boxes is long (Zheng et
    al. 2020, "Cluster-NMS", section 3.4).
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order][None], labels[order]
    rivals = (pairwise(boxes, boxes)[0] > overlap) & (labels == labels[:, None])
    rivals = rivals.float().triu_(1)
    stay = torch.ones_like(scores)
    while not torch.equal(now := (stay @ rivals == 0).float(), stay):
        stay = now
    return order[stay > 0]
