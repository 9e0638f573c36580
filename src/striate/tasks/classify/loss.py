"""Cross-entropy of the softmax, with label smoothing (Szegedy et al. 2016)."""

from torch import Tensor
from torch.nn import functional

from striate.task import Target


def loss(output: Tensor, target: Target, smoothing: float = 0.0) -> dict[str, Tensor]:
    """Logits (B, classes) and label (B,) -> {"cross_entropy": mean over the batch, in nats}."""
    return {"cross_entropy": functional.cross_entropy(output, target["label"], label_smoothing=smoothing)}
