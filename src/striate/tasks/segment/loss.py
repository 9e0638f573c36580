"""Cross-entropy of every pixel that has a class, classes weighted where that was asked for."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from striate.data.masks import IGNORED
from striate.task import Target

Output = Tensor | tuple[Tensor, Tensor]
"""Logits (B, classes, H, W), or those and the weights of the classes (classes,)."""


def forward(network: nn.Module, images: Tensor, target: Target | None) -> Output:
    """Logits; in training with the weights of the classes, where the network holds any."""
    weights: Any = getattr(network, "weights", None)
    logits = network(images)
    return (logits, weights) if target is not None and weights is not None else logits


def loss(output: Output, target: Target, smoothing: float = 0.0) -> dict[str, Tensor]:
    """Logits (B, classes, H, W) and mask (B, H, W) -> the mean over all pixels that have a class, in nats."""
    logits, weights = output if isinstance(output, tuple) else (output, None)
    mask = target["mask"].long()
    total = functional.cross_entropy(
        logits.float(), mask, weights, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    known = mask != IGNORED
    count = known.sum() if weights is None else weights[mask[known]].sum()
    return {"cross_entropy": total / count.clamp(min=1)}
