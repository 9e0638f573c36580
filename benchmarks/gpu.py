"""How fast networks train on a GPU: the whole loop of ours beside plain PyTorch loops.

    python benchmarks/gpu.py [--nets NET@SIDExBATCH,...] [--compiled NET@SIDExBATCH,...] [--rounds 3]

`resnet18@224x256` is ResNet-18 on batches of 256 pictures of 224×224; 10 classes, SGD with momentum 0.9 and
weight decay, bfloat16 products. Ours is the whole training, from uint8 pictures in the GPU's memory: batch,
shift, mirror, normalise, step (with Nesterov's momentum). The loops are handed one finished batch again and
again, wait for the GPU every five steps, and train the same network:

ours        as `striate train` does it: a step is replayed where launching its kernels takes longest
eager       ours with `--set cuda_graph=no`
tuned       a plain loop: channels last, bfloat16 autocast, fused SGD, no loss read
reference   torchvision's references with --amp: float16, a gradient scaler, SGD as it comes, top-1 and top-5
compiled    tuned, with torch.compile, for the nets of --compiled

They take turns of a second; the figure is the median over the rounds, in pictures a second.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from striate import models
from striate.data.loader import Loader
from striate.data.prepare import Prepare
from striate.data.source import Split
from striate.data.store import decode
from striate.tasks import TASKS
from striate.training.loop import Training
from striate.training.recipes import Recipe

NETS = "nielsen-dropout@28x10,resnet20@32x128,fast@32x500,resnet18@224x256,resnet50@224x128,vgg16@224x128"
GPU = torch.device("cuda", 0)
TURN = 1.0


def network(net: str, side: int) -> nn.Module:
    torch.manual_seed(0)
    channels = 1 if side == 28 else 3
    made = models.network(net, classes=10, channels=channels, size=(side, side))
    return made.to(device=GPU, memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]


def ours(net: str, side: int, batch: int, graph: bool) -> Iterator[float]:
    """Pictures a second of a turn, again and again."""
    channels, rng = 1 if side == 28 else 3, np.random.default_rng(0)
    count = max(4 * batch, 50_000 if side < 64 else 0)
    pictures = rng.integers(0, 255, (count, channels, side, side), dtype=np.uint8)
    prepare = Prepare((side, side), channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    task = TASKS["classify"]
    store = decode(Split(pictures, {"label": rng.integers(0, 10, count)}), prepare, task.targets)
    store.move(GPU)
    augment = {} if channels == 1 else {"shift": side // 8, "flip": True}
    loader = Loader(store, prepare, batch, 0, device=GPU, **augment)
    settings = {"optimizer": "sgd", "lr": 1e-3, "weight_decay": 1e-4, "cuda_graph": graph}
    recipe = Recipe(epochs=10**6, batch=batch, **settings)
    work = Training(network(net, side), task, loader, recipe, evaluate=dict)
    rows = work.run()
    for _ in range(3):
        next(rows)
    while True:
        torch.cuda.synchronize()
        step, began = work.step, time.perf_counter()
        while time.perf_counter() - began < TURN:
            next(rows)
        torch.cuda.synchronize()
        yield (work.step - step) * batch / (time.perf_counter() - began)


def loop(net: str, side: int, batch: int, way: str) -> Iterator[float]:
    """The same of a plain loop."""
    channels, mine = 1 if side == 28 else 3, network(net, side)
    images = torch.randn(batch, channels, side, side, device=GPU)
    labels = torch.randint(0, 10, (batch,), device=GPU)
    criterion = nn.CrossEntropyLoss()
    reference = way == "reference"
    kind = torch.float16 if reference else torch.bfloat16
    if reference:
        mine.to(memory_format=torch.contiguous_format)  # ty: ignore[no-matching-overload]
    else:
        images = images.contiguous(memory_format=torch.channels_last)
    if way == "compiled":
        mine.compile()
    rates = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = torch.optim.SGD(mine.parameters(), **rates, fused=None if reference else True)
    scaler = torch.amp.GradScaler("cuda", enabled=reference)

    def step() -> None:
        with torch.autocast("cuda", kind):
            output = mine(images)
            loss = criterion(output, labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if reference:
            right = output.topk(5).indices.eq(labels[:, None])
            _ = loss.item(), right[:, :1].sum().item(), right.sum().item()

    return speeds(step, batch)


def speeds(step: Callable[[], None], batch: int) -> Iterator[float]:
    for _ in range(5):
        step()
    while True:
        torch.cuda.synchronize()
        steps, began = 0, time.perf_counter()
        while time.perf_counter() - began < TURN:
            for _ in range(5):
                step()
            steps += 5
            torch.cuda.synchronize()
        yield steps * batch / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nets", default=NETS)
    parser.add_argument("--compiled", default="")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no NVIDIA GPU here that PyTorch can use.")
    print(f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}; pictures a second")
    print(f"{'':22}" + "".join(f"{way:>11}" for way in ("ours", "eager", "tuned", "reference", "compiled")))
    for what in asked.nets.split(","):
        net, _, sizes = what.partition("@")
        side, batch = (int(number) for number in sizes.split("x"))
        ways = {
            "ours": ours(net, side, batch, graph=True),
            "eager": ours(net, side, batch, graph=False),
            "tuned": loop(net, side, batch, "tuned"),
            "reference": loop(net, side, batch, "reference"),
        }
        if what in asked.compiled.split(","):
            ways["compiled"] = loop(net, side, batch, "compiled")
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(asked.rounds):
            for way, speed in ways.items():
                found[way].append(next(speed))
        figures = (f"{statistics.median(found[way]):11,.0f}" if way in found else " " * 11 for way in ways)
        print(f"{what:22}" + "".join(figures), flush=True)
        del ways
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
