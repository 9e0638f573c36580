"""Pixel accuracy, class accuracy and intersection over union, all from one table of counts.

As the papers define them (Long, Shelhamer & Darrell 2015, section 5), over all pixels of the set: with n_ij
pixels of class i called j, t_i = Σ_j n_ij: pixel accuracy Σ n_ii / Σ t_i; class accuracy the mean of
n_ii / t_i; mean IoU the mean of n_ii / (t_i + Σ_j n_ji - n_ii). A class that neither occurs nor is ever
predicted counts for no mean. Pixels without a class count for nothing.
"""

from typing import Any

import torch
from torch import Tensor

from striate.data.masks import IGNORED
from striate.errors import BadSetting
from striate.task import Facts, Target


def keep(output: Any) -> Tensor:
    """Logits (B, classes, H, W) -> the class of every pixel, uint8 (B, H, W)."""
    logits = output[0] if isinstance(output, tuple) else output
    return logits.argmax(1).to(torch.uint8) if logits.ndim == 4 else logits


class SegmentMetric:
    """One evaluation with the classes of `facts`."""

    def __init__(self, facts: Facts):
        self.classes: list[str] = list(facts["classes"])
        self.counts = torch.zeros(len(self.classes) ** 2, dtype=torch.int64)
        """(classes * classes,): true class * classes + predicted class -> pixels."""
        self.images = 0

    @torch.no_grad()
    def update(self, output: Any, target: Target) -> None:
        """Logits (B, classes, H, W) or classes uint8 (B, H, W), and mask (B, H, W)."""
        said, true, width = keep(output), target["mask"], len(self.classes)
        if said.shape != true.shape:
            raise BadSetting(f"masks of {tuple(said.shape[1:])} for truth of {tuple(true.shape[1:])}.")
        known = true != IGNORED
        pairs = true[known].long() * width + said.to(true.device)[known].long()
        self.counts += torch.bincount(pairs, minlength=width * width).cpu()
        self.images += len(true)

    def merge(self, other: "SegmentMetric") -> None:
        """Add the counts of another process or another part of the pictures."""
        self.counts = self.counts + other.counts
        self.images += other.images

    def compute(self) -> dict[str, Any]:
        """Plain JSON: miou, pixel_accuracy, class_accuracy, images, per_class {name: {iou, accuracy, share}}
        and confusion[true][predicted]. A class's iou or accuracy is None where it has no pixels for one."""
        table = self.counts.view(len(self.classes), -1).double()
        right, true, said = table.diag(), table.sum(1), table.sum(0)
        union = true + said - right
        iou, accuracy = right / union, right / true
        total = float(true.sum())
        per_class = {
            name: {
                "iou": float(iou[i]) if union[i] else None,
                "accuracy": float(accuracy[i]) if true[i] else None,
                "share": float(true[i]) / max(total, 1.0),
            }
            for i, name in enumerate(self.classes)
        }
        return {
            "miou": _mean(iou[union > 0]),
            "pixel_accuracy": float(right.sum()) / max(total, 1.0),
            "class_accuracy": _mean(accuracy[true > 0]),
            "images": self.images,
            "per_class": per_class,
            "confusion": self.counts.view(len(self.classes), -1).tolist(),
        }


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0
