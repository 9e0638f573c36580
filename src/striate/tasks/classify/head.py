"""The head of a classifier: the backbone's own, made as wide as there are classes."""

import logging

from torch import nn

from striate.task import Facts

log = logging.getLogger("striate")


def build(backbone: nn.Module, facts: Facts) -> nn.Module:
    """The backbone itself: its head gives (B, classes) logits already.

    Where the last linear layer of the head has another width (weights made for other classes), a fresh one
    takes its place, and a line in the log says so.
    """
    classes = len(facts["classes"])
    place, last = last_linear(backbone)
    if last is None or last.out_features == classes:
        return backbone
    fresh = nn.Linear(last.in_features, classes, last.bias is not None)
    backbone.set_submodule(place, fresh.to(last.weight.device, last.weight.dtype))
    log.warning("%s gave %d classes and is new: %d now, untrained", place, last.out_features, classes)
    return backbone


def last_linear(backbone: nn.Module) -> tuple[str, nn.Linear | None]:
    """Where the linear layer that ends the head is, and the layer; ("", None) where something else ends it.

    What ends a head is its last layer with weights or fixed tensors: LeNet-5's is the RBF layer, not the
    fully connected one before it.
    """
    head = getattr(backbone, "head", None)
    root, top = ("head", head) if isinstance(head, nn.Module) else ("", backbone)
    found: tuple[str, nn.Linear | None] = ("", None)
    for name, layer in top.named_modules(prefix=root):
        if name and [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
            found = (name, layer) if isinstance(layer, nn.Linear) else ("", None)
    return found
