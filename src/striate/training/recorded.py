"""A training step recorded once on a GPU and replayed: a CUDA graph of everything between batch and weights.

A small network's kernels are shorter than the time Python takes to launch them, and the GPU waits most of a
step. A replay launches them all at once. The kernels are the same, so the weights are too.
"""

import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from striate.errors import BadSetting
from striate.task import Target

Learn = Callable[[Tensor, Target, float], None]

EAGER = 4
"""Steps of a shape that are run before one is recorded: libraries choose their kernels in the first, and the
last two are timed."""

LAUNCHING = 0.7
"""Share of a step that launching its kernels must take for it to be recorded."""


class Recorded:
    """Steps, run as they are where that keeps the GPU busy, and replayed where launching takes longer.

    `learn`, the same each time, must read and write the same tensors whenever it is called, besides the
    batch, and never wait for the GPU. Batches of several shapes have a graph each, which share their memory.
    """

    def __init__(self) -> None:
        self.graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, list[Tensor]]] = {}
        self.seen: Counter[tuple] = Counter()
        self.launching: dict[tuple, float] = {}
        """The share of a shape's steps that launching takes: the larger of two, as other programs' use of the
        GPU only makes it look smaller."""
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, learn: Learn, images: Tensor, target: Target, weight: float) -> None:
        """Learn one batch: images (B, C, H, W) and the tensors of its target."""
        batch = [images, *target.values()]
        shape = (weight, *(tuple(tensor.shape) for tensor in batch))
        if shape in self.graphs:
            graph, inputs = self.graphs[shape]
            for kept, new in zip(inputs, batch, strict=True):
                kept.copy_(new, non_blocking=True)
            graph.replay()
        elif self.seen[shape] < EAGER:
            self.seen[shape] += 1
            if self.seen[shape] <= EAGER - 2:
                learn(images, target, weight)
            else:
                self._time(shape, learn, images, target, weight)
        elif self.launching[shape] < LAUNCHING:
            learn(images, target, weight)
        else:
            self._record(shape, learn, images, target, weight)

    def _time(self, shape: tuple, learn: Learn, images: Tensor, target: Target, weight: float) -> None:
        """One step as it is, and how much of it launching takes."""
        torch.cuda.synchronize()
        began = time.perf_counter()
        learn(images, target, weight)
        launched = time.perf_counter() - began
        torch.cuda.synchronize()
        share = launched / (time.perf_counter() - began)
        self.launching[shape] = max(share, self.launching.get(shape, 0.0))

    def _record(self, shape: tuple, learn: Learn, images: Tensor, target: Target, weight: float) -> None:
        """Record a step, which computes nothing, and replay it."""
        kept = {key: value.clone() for key, value in target.items()}
        inputs = [images.clone(), *kept.values()]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                learn(inputs[0], kept, weight)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as why:
            first = str(why.__context__ or why).splitlines()[0]
            raise BadSetting(
                f"cuda_graph: a step of this network cannot be recorded ({first}); "
                "one that asks for values while it computes never can: --set cuda_graph=no."
            ) from why
        self.graphs[shape] = graph, inputs
        graph.replay()
