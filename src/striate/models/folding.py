"""A copy of a network that only answers: batch norm folded into convolutions, ReLU and sums done by them.

In evaluation mode batch norm maps each channel to (x - mean) / sqrt(var + eps) * gamma + beta, and a
convolution before it can do that itself: its filters times gamma / sqrt(var + eps), and another bias. What
follows what is read from the graph of the network's forward (`torch.fx`), not from the order or the names of
its layers; whatever is not plainly such a pair stays as it is.
"""

import copy
import logging
from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from striate.models.chain import cells, refuse_other_sizes
from striate.models.fused import fuse
from striate.models.lenet import one_cell

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

CHECKS = (cells, one_cell, refuse_other_sizes)
"""Functions that refuse pictures of a wrong size: they stay in the graph as calls."""

log = logging.getLogger(__name__)


def for_inference(network: nn.Module) -> nn.Module:
    """A faster copy for CPUs, equal to 1e-4 of the outputs' scale; `network` stays as it is.

    Answers as `network.eval()` does, without gradients, and knows only `forward`. Weights that nothing was
    folded into are the network's own, the others are as they were now: after a change, make another copy
    (`weights_seen` tells). A forward that cannot be read as a graph, because it asks for values, is copied as
    it is, and a warning is logged; one that says so itself by `plain` has that part folded.
    """
    twin = _sharing(network).eval()
    if plain_part(twin) is not twin:
        _replace(twin, plain_part(twin), for_inference(plain_part(twin)))
        return twin
    try:
        graph = fx.Tracer(autowrap_functions=CHECKS).trace(twin)
    except Exception as error:  # whatever a stranger's forward raises on being read
        first = (str(error).splitlines() or [""])[0]
        log.warning("%s: answers unfolded, its forward is no graph: %s", type(network).__name__, first)
        return twin
    traced = fx.GraphModule(twin, graph, type(network).__name__)
    fold(traced)
    fuse(traced)
    traced.recompile()
    return traced


def plain_part(network: nn.Module) -> nn.Module:
    """The part of a network whose sizes depend on its pictures' size alone, where what follows looks at
    values, as a detector's second stage does: what it names `plain`, or all of it."""
    return getattr(network, "plain", network)


def _replace(network: nn.Module, part: nn.Module, by: nn.Module) -> None:
    """Put a module in the place of another."""
    name = next(name for name, module in network.named_modules() if module is part)
    network.set_submodule(name, by)


def fold(traced: fx.GraphModule) -> int:
    """Fold every batch norm into the convolution or linear layer that alone feeds it; how many there were.

    A max pool in between is no obstacle where the norm keeps the order of values, its scale being nowhere
    negative: the maximum of the mapped values is then the mapped maximum.

    Left alone: layers that run more than once or carry hooks, outputs that are also used elsewhere, norms
    without running statistics, subclasses and parametrised layers.
    """
    layers = dict(traced.named_modules(remove_duplicate=False))
    runs = Counter(id(layers[str(node.target)]) for node in traced.graph.nodes if node.op == "call_module")

    def alone(node: Any, kinds: tuple[type, ...]) -> Any:
        """The layer that a node runs, where it is exactly of such a kind and runs nowhere else."""
        layer = layers[str(node.target)] if isinstance(node, fx.Node) and node.op == "call_module" else None
        if layer is None or type(layer) not in kinds or runs[id(layer)] > 1 or _hooked(layer):
            return None
        return layer if len(node.args) == 1 and not node.kwargs else None

    count = 0
    for node in list(traced.graph.nodes):
        norm = alone(node, NORMS)
        if norm is None:
            continue
        before = source = node.args[0]
        pool: Any = alone(before, (nn.MaxPool2d,))
        if pool is not None and not pool.return_indices and len(before.users) == 1 and _rises(norm):
            source = before.args[0]
        layer = alone(source, (*CONVOLUTIONS, nn.Linear))
        if layer is None or len(source.users) > 1 or not _folds(layer, norm):
            continue
        merge: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        traced.set_submodule(source.target, merge(layer, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
        count += 1
    traced.delete_all_unused_submodules()
    return count


def weights_seen(network: nn.Module) -> list[tuple[int, int]]:
    """Where every weight and statistic lies and how often it was written: differs after any training step.

    Writing through `tensor.data` escapes it.
    """
    held = [*network.parameters(), *network.buffers()]
    return [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in held]


def _sharing(network: nn.Module) -> nn.Module:
    """A copy of the modules on the same weights: nothing large is copied."""
    memo: dict[int, Any] = {id(x): x for x in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, memo)


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _rises(norm: Any) -> bool:
    """Whether the norm keeps the order of its values."""
    return norm.weight is None or bool((norm.weight >= 0).all())


def _folds(layer: nn.Module, norm: Any) -> bool:
    """Whether the norm is a fixed map of exactly the channels that the layer makes, of the same type."""
    if norm.running_mean is None or norm.running_var is None:
        return False
    weight: Any = layer.weight
    if isinstance(layer, nn.Linear) and not isinstance(norm, nn.BatchNorm1d):
        return False
    return weight.shape[0] == norm.num_features and weight.dtype == norm.running_mean.dtype
