"""What our training loop costs over a bare PyTorch loop, on the same network, batches and optimizer.

    python benchmarks/loop_overhead.py [--data mnist] [--net lenet5-modern] [--pairs 60] [--steps 50]

Both loops take the same batches from the same loader and the same fused optimizer; the bare one is the
forward, loss, backward, step and zero of any tutorial. They run in turns, fifty steps each, in one process
and in changing order, so that a machine that slows down slows both. The figure is the median of the pairs'
ratios, with the interval that holds the true median 19 times in 20 (by resampling the pairs).
"""

import argparse
import copy
import random
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from striate import experiment, settings
from striate.training.loop import Training


def bare_steps(network: nn.Module, optimizer: torch.optim.Optimizer, loader, steps: range) -> float:
    """Seconds of some steps of the loop that everybody writes."""
    began = time.perf_counter()
    epoch = steps.start // loader.per_epoch
    order = loader.order(epoch)
    for number in (step % loader.per_epoch for step in steps):
        images, target = loader.batch(order, epoch, number)
        loss = functional.cross_entropy(network(images), target["label"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def our_steps(training: Training, steps: range) -> float:
    """Seconds of the same steps of ours, rows, schedule and all."""
    training.stop = lambda: training.step >= steps.stop
    began = time.perf_counter()
    for _ in training.run():
        pass
    return time.perf_counter() - began


def interval(ratios: list[float]) -> tuple[float, float]:
    """Where the median lies, 19 times in 20."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(4000))
    return medians[100], medians[-101]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--net", default="lenet5-modern")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=50)
    chosen = parser.parse_args()
    recipe = {"optimizer": "sgd", "lr": 0.01, "epochs": 1000, "batch": chosen.batch}
    todo = settings.new({"data": chosen.data, "net": chosen.net}, recipe)
    ready = experiment.set_up(todo, torch.device("cpu"), experiment.silent, download=False)
    bare = copy.deepcopy(ready.network).to(memory_format=torch.channels_last).train()
    training = Training(ready.network, ready.task, ready.loader, ready.recipe, evaluate=dict)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    ratios, total = [], [0.0, 0.0]
    for number in range(chosen.pairs + 1):
        steps = range(number * chosen.steps, (number + 1) * chosen.steps)
        if number % 2:
            theirs, ours = bare_steps(bare, optimizer, ready.loader, steps), our_steps(training, steps)
        else:
            ours, theirs = our_steps(training, steps), bare_steps(bare, optimizer, ready.loader, steps)
        if number:  # the first pair warms up
            ratios.append(ours / theirs)
            total = [total[0] + ours, total[1] + theirs]
    low, high = interval(ratios)
    print(f"{chosen.net} on {chosen.data}, batch {chosen.batch}: {len(ratios)} pairs of {chosen.steps} steps")
    print(f"bare {total[1]:.1f} s, ours {total[0]:.1f} s")
    median = statistics.median(ratios)
    print(f"overhead {100 * (median - 1):+.2f} % ({100 * (low - 1):+.2f} to {100 * (high - 1):+.2f})")


if __name__ == "__main__":
    main()
