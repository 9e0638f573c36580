"""Less memory for more time: blocks keep only their input, and compute the rest again for the gradients.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", with PyTorch's checkpoint. The weights that
come out are the same: dropout draws the same numbers again, and batch norm counts a batch once.
"""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from striate.errors import BadSetting


def blocks(network: nn.Module) -> list[nn.Module]:
    """The innermost modules with two convolutions or more: residual blocks, branches of an inception.

    Raises:
        BadSetting: there is at most one, and nothing would be saved.
    """
    several = [module for module in network.modules() if _convolutions(module) >= 2]
    found = [block for block in several if not any(_convolutions(part) >= 2 for part in _inside(block))]
    if len(found) < 2:
        raise BadSetting(
            "recompute: this network is one chain without blocks (ResNets and GoogLeNet have some): "
            "--set accumulate=4 takes a quarter of the memory for any network."
        )
    return found


def _inside(block: nn.Module) -> Iterator[nn.Module]:
    return (module for module in block.modules() if module is not block)


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in _inside(module))


@contextmanager
def recomputed(found: list[nn.Module], way: AbstractContextManager) -> Generator[None]:
    """While it is entered, the blocks keep only their inputs for the backward pass, which may come later.

    `way` is entered for the second time through, as it was for the first.
    """
    for block in found:
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=partial(_contexts, block, way)
        )
    try:
        yield
    finally:
        for block in found:
            del block.forward


def _contexts(
    block: nn.Module, way: AbstractContextManager
) -> tuple[AbstractContextManager, AbstractContextManager]:
    """For the first time through and for the second."""
    return nullcontext(), _without_statistics(block, way)


@contextmanager
def _without_statistics(block: nn.Module, way: AbstractContextManager) -> Generator[None]:
    """Batch norms that leave their running statistics as they are: the batch was counted the first time."""
    norms = [part for part in block.modules() if isinstance(part, _NormBase)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        with way:
            yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
