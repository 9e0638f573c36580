"""What our training loop costs over a bare PyTorch loop, on the same network, batches and optimizer.

    python benchmarks/loop_overhead.py [--data mnist] [--net lenet5-modern] [--rounds 5]

Both loops take the same batches from the same loader and the same fused optimizer; the bare one is the
forward, loss, backward, step and zero of any tutorial. They run in turns, an epoch each, in one process, so
that a machine that slows down slows both; the ratio is the median over the rounds.
"""

import argparse
import copy
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from striate import experiment, settings
from striate.training.loop import Training


def bare_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, loader, epoch: int) -> float:
    """Seconds of one epoch of the loop that everybody writes."""
    order = loader.order(epoch)
    began = time.perf_counter()
    for number in range(loader.per_epoch):
        images, target = loader.batch(order, epoch, number)
        loss = functional.cross_entropy(network(images), target["label"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def our_epoch(training: Training) -> float:
    """Seconds of one more epoch of ours, rows, schedule and all (no evaluation)."""
    began = time.perf_counter()
    for row in training.run():
        if row["row"] == "epoch":
            break
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--net", default="lenet5-modern")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    recipe = {"optimizer": "sgd", "lr": 0.01, "epochs": chosen.rounds + 1, "batch": chosen.batch}
    todo = settings.new({"data": chosen.data, "net": chosen.net}, recipe)
    ready = experiment.set_up(todo, torch.device("cpu"), experiment.silent, download=False)
    bare = copy.deepcopy(ready.network).to(memory_format=torch.channels_last).train()
    training = Training(ready.network, ready.task, ready.loader, ready.recipe, evaluate=dict)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    bare_epoch(bare, optimizer, ready.loader, 0), our_epoch(training)  # warm-up
    ratios = []
    for number in range(1, chosen.rounds + 1):
        turns = [lambda e=number: bare_epoch(bare, optimizer, ready.loader, e), lambda: our_epoch(training)]
        if number % 2:
            ours, theirs = turns[1](), turns[0]()
        else:
            theirs, ours = turns[0](), turns[1]()
        ratios.append(ours / theirs)
        print(
            f"round {number}: bare {theirs:6.2f} s   ours {ours:6.2f} s   ratio {ratios[-1]:.4f}", flush=True
        )
    spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
    print(f"{chosen.net} on {chosen.data}, batch {chosen.batch}, {ready.loader.per_epoch} steps an epoch")
    median = 100 * (statistics.median(ratios) - 1)
    print(f"overhead {median:+.2f} % (median of {len(ratios)}, spread {100 * spread:.2f})")


if __name__ == "__main__":
    main()
