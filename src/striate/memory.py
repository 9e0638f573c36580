"""How much memory a network takes to train or to use, found by running a step without values.

A step of training (batch in, forward, cross-entropy, backward, SGD with momentum) runs on the `meta` device
while every storage is watched from its first tensor to its last: the peak of what lives at once is what an
allocator must hold. Convolutional networks run channels-last, as the training loop has them.

What it leaves out: the libraries' own scratch space (up to 7 % in networks measured on a CPU), the room for
transformed filters and tiles (winograd: some 300 MB for 512 channels in training; in answering 100 MB that
each thread keeps, and up to nine times the filters), the process before it trains (some 400 MB of Python and
PyTorch), and what a C library keeps of freed memory: some 40 MB after `arrange_memory`, which a training
calls first, and up to half of the step's own after `keep_memory`, where there is plenty.
"""

import ctypes
import sys
import weakref
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from striate.errors import BadSetting, DoesNotFit
from striate.tracing.receptive import tensors
from striate.tracing.watching import Watch, on_meta

MOST = 1 << 24
"""The largest batch that is tried."""

LARGE = 8 << 20
"""Bytes of the smallest block that freeing gives back to the system; smaller ones cost more to fetch anew."""
KEPT = 256 << 20
"""Bytes of freed small blocks that are kept for the next step."""
PLENTY = 3
"""Free memory over what a training needs from which on all is kept: it takes up to 1.5 times as much then."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""The numbers of these knobs in glibc's malloc.h."""
USUAL_MMAP_MAX, MOST_BYTES = 65_536, 2**31 - 1
"""glibc's own value of the last knob, and the largest that any takes."""


def arrange_memory() -> None:
    """Have memory come and go so that a training takes no more than its tensors; on Linux with glibc.

    A step frees and takes the same blocks as the one before. Left alone, glibc gives small ones back, so that
    every step fetches them anew page by page, and keeps large ones, so that a training takes up to half as
    much again as its tensors. Here it is the other way round, for the rest of the process or until
    `keep_memory`, whose doing it undoes.
    """
    _tell_glibc({M_MMAP_MAX: USUAL_MMAP_MAX, M_MMAP_THRESHOLD: LARGE, M_TRIM_THRESHOLD: KEPT})


def keep_memory(needed: int, free: int) -> None:
    """Where there is plenty (bytes), keep all freed memory for the next step: it saves a tenth of its time.

    Fetching a page from the system costs a fault and the writing of zeros.
    """
    if PLENTY * needed < free:
        _tell_glibc({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: MOST_BYTES})


def give_memory_back() -> None:
    """Give what is free back to the system, and have it so from now on: a training is over."""
    arrange_memory()
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _tell_glibc(knobs: dict[int, int]) -> None:
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        for knob, value in knobs.items():
            mallopt(knob, value)


def _glibc(function: str) -> Callable[..., int] | None:
    """A function of the C library, where it is glibc's."""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None


def peak_memory(module: nn.Module, input: Sequence[int], batch: int, training: bool = True) -> int:
    """Bytes that live at once, at most: weights, gradients, momentum, activations and the batch itself.

    `input` is (C, H, W). Without `training` it is one forward pass in evaluation mode that keeps no graph.
    Raises DoesNotFit where the network does not run, naming the reason.
    """
    return _peak(on_meta(module), tuple(input), batch, training)


def largest_batch(module: nn.Module, input: Sequence[int], gigabytes: float, training: bool = True) -> int:
    """The largest batch that trains (or runs) in `gigabytes` of 10⁹ bytes.

    Raises DoesNotFit where not even the smallest does.
    """
    net, limit, shape = on_meta(module), gigabytes * 1e9, tuple(input)
    if not 0 < gigabytes < inf:
        raise BadSetting(f"memory must be a number of GB above 0, not {gigabytes:g}")
    low = 2 if training else 1  # batch normalisation cannot train on one
    at_low = _peak(net, shape, low, training)
    if at_low > limit:
        raise DoesNotFit(f"a batch of {low} takes {at_low / 1e9:.2f} GB, more than {gigabytes:g} GB")
    high, at_high = 2 * low, _peak(net, shape, 2 * low, training)
    while at_high <= limit and high < MOST:
        each = max((at_high - at_low) / (high - low), 1)
        low, at_low = high, at_high
        high = min(max(int(low + (limit - at_low) / each) + 1, low + 1), MOST)
        at_high = _peak(net, shape, high, training)
    while high - low > 1:
        share = (limit - at_low) / (at_high - at_low)
        middle = min(max(low + int(share * (high - low)), low + 1), high - 1)
        at_middle = _peak(net, shape, middle, training)
        low, at_low, high, at_high = (
            (middle, at_middle, high, at_high) if at_middle <= limit else (low, at_low, middle, at_middle)
        )
    return low


class Storages(TorchDispatchMode):
    """Bytes alive and their peak, of storages made while it is entered and of those that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: dict[int, weakref.ref] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in here, so PyTorch need not import its compiler (2 s) to keep it out."""
        return False

    def take(self, x: Tensor) -> None:
        """Count the tensor's storage, once, for as long as it lives."""
        storage = x.untyped_storage()
        known = self.known.get(storage._cdata)
        if known is None or known() is not storage:
            size = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            self.known[storage._cdata] = weakref.ref(storage, lambda _: self._give_back(size))

    def _give_back(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tensors(out):
            self.take(x)
        return out


def _peak(net: nn.Module, shape: tuple[int, ...], batch: int, training: bool) -> int:
    """`peak_memory` of a network that is already on the meta device."""
    if batch < 1:
        raise BadSetting(f"batch must be 1 or more, not {batch}")
    if len(shape) == 3:
        net.to(memory_format=torch.channels_last)
    storages = Storages()
    for weight in (*net.parameters(), *net.buffers()):
        storages.take(weight)
    modes = [(part, part.training) for part in net.modules()]
    net.train(training)
    try:
        with torch.device("meta"), storages:
            if training:
                _train(net, shape, batch)
            else:
                with torch.no_grad():
                    net(_batch(shape, batch))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        watch = Watch()
        watch.run(net, shape, batch)
        raise DoesNotFit(str(watch.failure or f"{type(net).__name__}: {error}")) from None
    finally:
        net.zero_grad(set_to_none=True)
        for part, was in modes:
            part.training = was
    return storages.peak


def _batch(shape: tuple[int, ...], batch: int) -> Tensor:
    layout = torch.channels_last if len(shape) == 3 else torch.contiguous_format
    return torch.empty(batch, *shape, memory_format=layout)


def _train(net: nn.Module, shape: tuple[int, ...], batch: int) -> None:
    """Two steps. What outlives a step: weights, momenta, and the last batch until the next one is there."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    momenta = [torch.empty_like(weight) for weight in weights]
    for _ in range(2):
        loss = _loss(net, shape, batch)
        loss.backward()
        with torch.no_grad():
            for weight, momentum in zip(weights, momenta, strict=True):
                if weight.grad is not None:
                    momentum.mul_(0.9).add_(weight.grad)
                    weight.add_(momentum, alpha=-0.1)
        net.zero_grad(set_to_none=True)


def _loss(net: nn.Module, shape: tuple[int, ...], batch: int) -> Tensor:
    """Cross-entropy of the logits; networks that answer otherwise are asked for the sum of all they say."""
    outputs = tensors(net(_batch(shape, batch)))
    if len(outputs) == 1 and outputs[0].dim() == 2:
        target = torch.empty(batch, dtype=torch.long)
        return nn.functional.cross_entropy(outputs[0], target)
    total = outputs[0].sum()
    for output in outputs[1:]:
        total = total + output.sum()
    return total
