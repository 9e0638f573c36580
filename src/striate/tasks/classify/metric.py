"""Accuracy, top-5, log-likelihood, confusion and calibration error (Guo et al. 2017), all from sums.

Only sums over pictures are kept, on the device that made the logits, so the figures do not depend on the size
of the batches or on how many processes shared the work, and nothing waits for the device before `compute`.
"""

import math
from typing import Any

import torch
from torch import Tensor

from striate.errors import BadSetting
from striate.task import Facts, Target

BINS = 15
"""Equal bins of confidence, (0, 1/15] to (14/15, 1]."""

TOP = 5


def calibration_sums(confidence: Tensor, right: Tensor) -> Tensor:
    """Confidences (B,) and whether each was right (B,) -> (3, 15): pictures, summed confidence, right."""
    dtype = torch.float32 if confidence.device.type == "mps" else torch.float64  # mps has no float64
    rows = torch.stack([torch.ones_like(confidence), confidence, right.to(confidence.dtype)]).to(dtype)
    which = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    return torch.zeros(3, BINS, dtype=dtype, device=confidence.device).index_add_(1, which, rows)


def calibration_error(sums: Tensor) -> float:
    """Expected calibration error: |right - confidence| of each bin, weighted by its share of the pictures."""
    pictures, confidence, right = sums.double().cpu()
    return float((right - confidence).abs().sum() / pictures.sum().clamp(min=1))


class ClassifyMetric:
    """One evaluation of a classifier with the classes of `facts`."""

    def __init__(self, facts: Facts):
        self.classes: list[str] = list(facts["classes"])
        width = len(self.classes)
        self.confusion = torch.zeros(width * width, dtype=torch.int64)
        """(classes * classes,): true class * classes + predicted class -> pictures."""
        self.top5 = torch.zeros((), dtype=torch.int64)
        self.nll = torch.zeros((), dtype=torch.float64)
        self.bins = torch.zeros(3, BINS, dtype=torch.float64)

    @torch.no_grad()
    def update(self, output: Tensor, target: Target) -> None:
        """Logits (B, classes) and label (B,). Raises `BadSetting` where the width is not the classes'."""
        width = len(self.classes)
        if output.ndim != 2 or output.shape[1] != width:
            raise BadSetting(
                f"the network gives {tuple(output.shape[1:])} figures a picture for {width} classes."
            )
        self._move(output.device)
        logits, label = output.float(), target["label"].to(output.device)
        log_p = logits.log_softmax(1)
        best = logits.topk(min(TOP, width), dim=1).indices
        said = best[:, 0]
        confidence = log_p.gather(1, said[:, None])[:, 0].exp()
        self.confusion.index_add_(0, label * width + said, torch.ones_like(label))
        self.top5 += (best == label[:, None]).sum()
        self.nll -= log_p.gather(1, label[:, None]).sum(dtype=self.nll.dtype)
        self.bins += calibration_sums(confidence, said == label)

    @torch.inference_mode(False)  # sums made here can be changed both inside and outside of inference mode
    def _move(self, device: torch.device) -> None:
        if self.confusion.device == device:
            return
        real = torch.float32 if device.type == "mps" else torch.float64
        self.confusion, self.top5 = self.confusion.to(device), self.top5.to(device)
        self.nll, self.bins = self.nll.to(device, real), self.bins.to(device, real)

    @torch.no_grad()
    def merge(self, other: "ClassifyMetric") -> None:
        """Add the sums of another process or another part of the pictures."""
        for name in ("confusion", "top5", "nll", "bins"):
            mine, theirs = getattr(self, name), getattr(other, name)
            mine += theirs.to(mine.device, mine.dtype)

    def compute(self) -> dict[str, Any]:
        """Plain JSON: accuracy, top5 (with more than five classes), loss, calibration_error, images, and
        per_class {name: {accuracy, precision, n}} and confusion[true][predicted].

        `loss` is None where it is not a finite number, a class's accuracy where it had no pictures and its
        precision where it was never predicted. Without a single picture the figures are 0.
        """
        width = len(self.classes)
        confusion = self.confusion.cpu().view(width, width)
        images = int(confusion.sum())
        loss = float(self.nll) / max(images, 1)
        figures: dict[str, Any] = {"accuracy": int(confusion.trace()) / max(images, 1)}
        if width > TOP:
            figures["top5"] = int(self.top5) / max(images, 1)
        figures["loss"] = loss if math.isfinite(loss) else None
        figures["calibration_error"] = calibration_error(self.bins)
        figures["images"] = images
        figures["per_class"] = self._per_class(confusion)
        figures["confusion"] = confusion.tolist()
        return figures

    def _per_class(self, confusion: Tensor) -> dict[str, dict[str, float | int | None]]:
        """Class name -> the share of its pictures found, the share of its predictions true, its pictures."""
        right, true, said = confusion.diag().tolist(), confusion.sum(1).tolist(), confusion.sum(0).tolist()
        return {
            name: {"accuracy": r / n if n else None, "precision": r / s if s else None, "n": n}
            for name, r, n, s in zip(self.classes, right, true, said, strict=True)
        }
