"""What each layer makes that must be kept for the backward pass, as autograd itself says."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from striate.tracing.receptive import tensors
from striate.tracing.watching import Draft, Watch


def kept_bytes(net: nn.Module, shape: Sequence[int], batch: int) -> Counter[tuple[str, int]]:
    """Bytes kept for the backward pass, by the row that made them.

    (row's name, how many rows of that name before) -> bytes. `net` is on the meta device.
    Weights and the batch itself are not counted.
    """
    fed = max(batch, 2)  # batch normalisation cannot train on one
    keep = _Keep()
    modes = [(part, part.training) for part in net.modules()]
    for training in (True, False):
        with torch.autograd.graph.saved_tensors_hooks(keep.pack, lambda x: x):
            if keep.run(net.train(training), shape, fed, grad=True):
                break
        keep = _Keep()
    for part, training in modes:
        part.training = training
    seen: Counter[str] = Counter()
    kept: Counter[tuple[str, int]] = Counter()
    for row in keep.rows:
        kept[row.name, seen[row.name]] = keep.kept[id(row)] * batch // fed
        seen[row.name] += 1
    return kept


class _Keep(Watch):
    """Also knows which row made a storage, and so for which row autograd saves it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Counter[int] = Counter()
        self.makers: dict[int, Draft | None] = {}

    def _note(self, func: Any, name: str, args: tuple, kwargs: dict, out: Any, slide: Any) -> None:
        super()._note(func, name, args, kwargs, out, slide)
        old = {x.untyped_storage()._cdata for x in tensors((args, kwargs))}
        for x in tensors(out):
            storage = x.untyped_storage()._cdata
            if storage not in old and x in self.sights:
                self.makers[storage] = self.rows[-1] if self.rows else None

    def pack(self, x: Tensor) -> Tensor:
        """Called by autograd for every tensor it saves."""
        maker = self.makers.pop(x.untyped_storage()._cdata, None)
        if maker is not None:
            self.kept[id(maker)] += x.untyped_storage().nbytes()
        return x
