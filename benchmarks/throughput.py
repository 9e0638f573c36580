"""How fast networks train: plain steps of ours beside torchvision's loop, timm, Lightning and Keras 3.

    python -m venv peers && peers/bin/pip install timm lightning keras tensorflow-cpu jax
    PYTHONPATH=src peers/bin/python benchmarks/throughput.py [--nets NET@SIDExBATCH,...] [--ways ...]

(with the project's own dependencies in the same environment). `resnet18@224x32` is ResNet-18 on batches of 32
pictures of 224×224. Everybody trains the same network in float32 by SGD with momentum 0.9 and weight decay,
1,000 classes, with as many threads, each a process of its own that waits while another has its turn; the
order changes every round. Ours is the whole training loop, from uint8 pictures in memory: batch, shift,
mirror, normalise, step. The others are handed one finished batch again and again:

torchvision   its network and the loop of its references with their defaults: top-1 and top-5 of every batch
timm          its network, its optimizer (`create_optimizer_v2`, sgd) and its loss
lightning     torchvision's network in a Trainer with no logger, checkpoint or bar
keras-...     `train_on_batch` of keras.applications, ResNet-18 written out, on each of its backends

The figure is the median over the rounds, in pictures a second; GFLOP/s counts three passes of the network's
multiply-adds, and `product` is what a large float32 matrix product reached in the same process of ours.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

NETS = "resnet18@224x32,resnet50@224x16,vgg16@224x8,resnet18@32x128"
WAYS = "ours,torchvision,timm,lightning,keras-tensorflow,keras-jax,keras-torch"
PAUSE = 0.3
"""Seconds between turns: the threads of the one before may still spin."""


def turns() -> Iterator[None]:
    """One item for each step that may be taken; says on standard output how long those of a turn took."""
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            yield
        print(f"seconds {time.perf_counter() - began}", flush=True)


def ours(net: str, side: int, batch: int) -> None:
    import numpy as np
    import torch

    from striate import models
    from striate.data.loader import Loader
    from striate.data.prepare import Prepare
    from striate.data.source import Split
    from striate.data.store import decode
    from striate.memory import arrange_memory
    from striate.tasks import TASKS
    from striate.training.forecast import forecast
    from striate.training.loop import Training
    from striate.training.recipes import Recipe

    arrange_memory()
    prepare = Prepare((side, side), 3, mean=(0.5,) * 3, std=(0.25,) * 3)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (4 * batch, 3, side, side), dtype=np.uint8)
    split = Split(pictures, {"label": rng.integers(0, 1000, 4 * batch)})
    task = TASKS["classify"]
    network = models.network(net, classes=1000, channels=3, size=(side, side))
    loader = Loader(decode(split, prepare, task.targets), prepare, batch, 0, shift=side // 8, flip=True)
    recipe = Recipe(epochs=10**6, batch=batch, optimizer="sgd", lr=1e-3, weight_decay=1e-4)
    forecast(network, task, loader, recipe, 0)  # as before every training: it arranges how memory is kept
    rows = Training(network, task, loader, recipe, evaluate=dict, row_seconds=0.0).run()
    a = torch.randn(2048, 2048)
    best = min(_seconds(lambda: a @ a) for _ in range(8))
    print(f"product {2 * 2048**3 / best / 1e9}", flush=True)
    for _ in turns():
        next(rows)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def torchvision(net: str, side: int, batch: int) -> None:
    import torch
    import torchvision.models

    network = getattr(torchvision.models, net)()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    criterion = torch.nn.CrossEntropyLoss()
    images, labels = torch.randn(batch, 3, side, side), torch.randint(0, 1000, (batch,))
    for _ in turns():
        output = network(images)
        loss = criterion(output, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = output.topk(5).indices.eq(labels[:, None])
        _ = loss.item(), right[:, :1].sum().item(), right.sum().item()


def timm(net: str, side: int, batch: int) -> None:
    import timm as library
    import torch
    from timm.optim import create_optimizer_v2

    network = library.create_model(net)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=1e-3, momentum=0.9, weight_decay=2e-5)
    criterion = torch.nn.CrossEntropyLoss()
    images, labels = torch.randn(batch, 3, side, side), torch.randint(0, 1000, (batch,))
    for _ in turns():
        loss = criterion(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def lightning(net: str, side: int, batch: int) -> None:
    import lightning as library
    import torch
    import torchvision.models

    class Module(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = getattr(torchvision.models, net)()

        def training_step(self, pair: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.network(pair[0]), pair[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    pair = torch.randn(batch, 3, side, side), torch.randint(0, 1000, (batch,))

    class Batches(torch.utils.data.IterableDataset):
        """The trainer asks for a batch before it takes the step before: every turn has as many of both."""

        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            return (pair for _ in turns())

    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = library.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **off)
    trainer.fit(Module(), torch.utils.data.DataLoader(Batches(), batch_size=None))


def keras(net: str, side: int, batch: int) -> None:
    import keras as library
    import numpy as np

    shape = (side, side, 3)
    if net == "resnet18":
        network = keras_resnet18(library, shape)
    else:
        known = {"resnet50": library.applications.ResNet50, "vgg16": library.applications.VGG16}
        network = known[net](weights=None, input_shape=shape, classifier_activation=None)
    network.compile(
        library.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4),
        library.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = np.random.rand(batch, *shape).astype(np.float32)
    labels = np.random.randint(0, 1000, batch)
    for _ in turns():
        network.train_on_batch(images, labels)


def keras_resnet18(library, shape: tuple[int, int, int]):
    """Keras has no ResNet-18 of its own: the same blocks, written with its layers."""
    layers = library.layers

    def conv(x, width: int, size: int, stride: int):
        x = layers.ZeroPadding2D(size // 2)(x) if size > 1 else x
        x = layers.Conv2D(width, size, stride, use_bias=False)(x)
        return layers.BatchNormalization()(x)

    given = layers.Input(shape)
    x = layers.ReLU()(conv(given, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            short = conv(x, width, 1, stride) if stride > 1 else x
            y = layers.ReLU()(conv(x, width, 3, stride))
            x = layers.ReLU()(layers.Add()([conv(y, width, 3, 1), short]))
    return library.Model(given, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))


def start(way: str, what: str, threads: int) -> subprocess.Popen:
    """A process of one way, which answers a number of steps by the seconds they took."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": way.partition("-")[2] or "torch",
    }
    command = [sys.executable, __file__, "--turns", way, what]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
    )


def take(process: subprocess.Popen, steps: int) -> tuple[float, float]:
    """(seconds of so many steps, the matrix product's GFLOP/s where the process said them)."""
    with suppress(BrokenPipeError):  # where it has ended, its output says so below
        process.stdin.write(f"{steps}\n")
        process.stdin.flush()
    product = 0.0
    for line in process.stdout:
        word, _, number = line.partition(" ")
        if word == "product":
            product = float(number)
        elif word == "seconds":
            return float(number), product
    raise SystemExit(f"{process.args[3:]} ended: run this line to see why: {' '.join(process.args)}")


def race(what: str, ways: list[str], rounds: int, threads: int) -> None:
    """Let all ways train one network in turns, and print a row for each."""
    from striate import models
    from striate.tracing import trace

    net, side, batch = parts(what)
    network = models.network(net, classes=1000, channels=3, size=(side, side))
    operations = 6 * trace(network, (3, side, side)).to_dict()["multiply_adds"]
    processes = {way: start(way, what, threads) for way in ways}
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    products = {way: take(process, 2)[1] for way, process in processes.items()}  # compiles and warms up
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            time.sleep(PAUSE)
            seconds, _ = take(processes[way], 2)
            speeds[way].append(2 * batch / seconds)
    for process in processes.values():
        process.kill()
    first = speeds[ways[0]]
    for way, found in speeds.items():
        middle = statistics.median(found)
        ratio = statistics.median(mine / theirs for mine, theirs in zip(first, found, strict=True))
        spread = f"{min(found):.1f}–{max(found):.1f}"
        speed = f"{middle * operations / 1e9:.0f}"
        print(f"| {what} | {way} | {middle:.1f} | {spread} | {speed} | {ratio:.2f} |", flush=True)
    print(f"| {what} | (matrix product) | | | {max(products.values()):.0f} | |", flush=True)


def parts(what: str) -> tuple[str, int, int]:
    """`resnet18@224x32` -> ("resnet18", 224, 32)."""
    net, _, sizes = what.partition("@")
    side, _, batch = sizes.partition("x")
    return net, int(side), int(batch)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default=NETS)
    parser.add_argument("--ways", default=WAYS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", nargs=2, metavar=("WAY", "NET"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.turns:
        way, what = chosen.turns
        known = {"ours": ours, "torchvision": torchvision, "timm": timm, "lightning": lightning}
        known.get(way, keras)(*parts(what))
        return
    print("| network | way | pictures/s | of the rounds | GFLOP/s | ours is faster by |")
    print("|---|---|---|---|---|---|")
    for what in chosen.nets.split(","):
        race(what, chosen.ways.split(","), chosen.rounds, chosen.threads)
    import importlib.metadata as metadata

    names = {"torch", "torchvision", "timm", "lightning", "keras", "tensorflow-cpu", "jax"}
    installed = names & {found.name.replace("_", "-") for found in metadata.distributions()}
    print(", ".join(f"{name} {metadata.version(name)}" for name in sorted(installed)))


if __name__ == "__main__":
    main()
