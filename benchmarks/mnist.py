"""MNIST against the clock: 99.0 % and 99.60 %, beside the network and loop of PyTorch's own MNIST example.

    python benchmarks/mnist.py [--seeds 3] [--only short|long|vote|example] [--out runs/bench-mnist]

Seconds are from the first step to the end of the evaluation of the 10,000 test pictures; the last column has
everything but the imports: reading, forecast, report. The vote is of two trainings at once, one core each,
and an evaluation of both, run as commands: its seconds have everything, imports too. The example's network
(two convolutions of 32 and 64 filters, 1.2 million parameters; Adadelta, batches of 64, a DataLoader that
converts picture by picture) is trained for one of its 14 epochs. Settings were chosen on 10,000 of the 60,000
training pictures, but for the vote's batch: see docs/benchmarks.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import striate as st
from striate.data import open_data

SHORT = {"epochs": 1, "batch": 400, "lr": 0.25, "shift": 1}
LONG: dict[str, float] = {}
STRIATE = [sys.executable, "-m", "striate"]
VOTE = (
    "train classify --data mnist --net fast-mnist --recipe muon --epochs 12 --batch 500 --lr 0.14 "
    "--set evaluate=12"
)


class Digits(Dataset):
    """Pictures one by one, converted as they are asked for: what torchvision.datasets.MNIST does."""

    def __init__(self, split: str) -> None:
        found = open_data("mnist").splits[split]
        self.images, self.labels = found.images, found.targets["label"]
        self.convert = v2.Compose(
            [
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.1307,), (0.3081,)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.convert(Image.fromarray(self.images[index].squeeze())), int(self.labels[index])


def example(seed: int) -> tuple[float, float]:
    """(test accuracy, seconds) of one epoch of PyTorch's example."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adadelta(net.parameters(), lr=1.0)
    train, test = Digits("train"), Digits("test")
    began = time.perf_counter()
    for images, labels in DataLoader(train, batch_size=64, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    net.eval()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, batch_size=1000):
            right += int((net(images).argmax(1) == labels).sum())
    return right / len(test), time.perf_counter() - began


def ours(seed: int, changes: dict[str, float], out: Path) -> tuple[float, float, float]:
    """(test accuracy, seconds of training and evaluation, seconds of everything)."""
    began = time.perf_counter()
    run = st.train(
        "classify", data="mnist", net="fast-mnist", recipe="muon", changes=changes, seed=seed, out=out,
        progress=False,
    )  # fmt: skip
    return run.figures["accuracy"], run.figures["seconds"], time.perf_counter() - began


def vote(seed: int, out: Path) -> tuple[float, float]:
    """(test accuracy, seconds) of two trainings at once and their vote, the commands' beginnings and all."""
    began = time.perf_counter()
    runs = [str(out / str(start)) for start in (2 * seed, 2 * seed + 1)]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    trainings = [
        subprocess.Popen([*STRIATE, *VOTE.split(), "--seed", Path(run).name, "--out", run], env=alone)
        for run in runs
    ]
    for training in trainings:
        if training.wait():
            raise SystemExit(f"a training ended with {training.returncode}")
    told = subprocess.run([*STRIATE, "evaluate", *runs, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(told.stdout)["accuracy"], time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=["short", "long", "vote", "example"])
    parser.add_argument("--out", type=Path, default=Path("runs/bench-mnist"))
    chosen = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(chosen.seeds):  # in turns, so that a slow minute of the machine meets all of them
        place = chosen.out / f"{time.time_ns()}-{seed}"
        ways = {
            "short": partial(ours, seed, SHORT, place / "short"),
            "long": partial(ours, seed, LONG, place / "long"),
            "vote": partial(vote, seed, place),
            "example": partial(example, seed),
        }
        for name, way in ways.items():
            if chosen.only in (None, name):
                found.setdefault(name, []).append(way())
    print("| training | accuracy, mean (each) | seconds, mean (each) | with reading and report |")
    print("|---|---|---|---|")
    for name, results in found.items():
        columns = list(zip(*results, strict=True))
        cells = [_cell(columns[0], 4), _cell(columns[1], 1), _cell(columns[2], 1) if columns[2:] else "–"]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")


def _cell(values: tuple[float, ...], digits: int) -> str:
    each = ", ".join(f"{value:.{digits}f}" for value in values)
    return f"{statistics.mean(values):.{digits}f} ({each})"


if __name__ == "__main__":
    main()
