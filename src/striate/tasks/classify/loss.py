"""Cross-entropy of the softmax, with label smoothing (Szegedy et al. 2016) and auxiliary classifiers."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from striate.task import Target

AUXILIARY = 0.3
"""What the loss of an auxiliary classifier counts for (Szegedy et al. 2014, section 5)."""


def forward(network: nn.Module, images: Tensor, target: Target | None) -> Tensor | list[Tensor]:
    """Logits (B, classes); in training those of a network's auxiliary classifiers behind them, in a list."""
    auxiliary: Any = getattr(network, "training_logits", None)
    return auxiliary(images) if auxiliary and network.training and target is not None else network(images)


def loss(output: Any, target: Target, smoothing: float = 0.0) -> dict[str, Tensor]:
    """Logits (B, classes), or a list of them, and label (B,) -> named terms, means over the batch in nats."""
    main, *others = output if isinstance(output, list) else [output]
    terms = {"cross_entropy": functional.cross_entropy(main, target["label"], label_smoothing=smoothing)}
    for number, logits in enumerate(others, 1):
        part = functional.cross_entropy(logits, target["label"], label_smoothing=smoothing)
        terms[f"auxiliary{number}"] = AUXILIARY * part
    return terms
