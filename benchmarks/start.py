"""From the command to the first training step, over a bare `import torch`: what a user waits for.

    python benchmarks/start.py [--data mnist] [--net lenet5] [--rounds 5]

Every round starts two fresh processes in turn: one that only imports PyTorch, and `striate train`, stopped
when its first batch has been learned. Between them lie the imports, reading and looking at the data, building
the network and the forecast.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

FIRST_STEP = """
import os, sys
from striate.training.loop import Training
whole = Training.gradients
def one(self, *batch):
    whole(self, *batch)
    if self.folder is not None:  # the forecast's trial has none
        self.optimizer.step()
        os._exit(0)
Training.gradients = one
from striate.cli import main
main()
"""


def seconds(*command: str) -> float:
    """Wall time of a Python process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--net", default="lenet5")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    bare, ours = [], []
    for number in range(chosen.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            command = ["train", "classify", "--data", chosen.data, "--net", chosen.net, "--out", folder]
            times = seconds("-c", "import os, torch; os._exit(0)"), seconds("-c", FIRST_STEP, *command)
        if number:  # the first round warms the disk's cache
            bare.append(times[0])
            ours.append(times[1])
    more = [b - a for a, b in zip(bare, ours, strict=True)]
    print("| data, network | import torch, s | to the first step, s | over it, s | least to most |")
    print("|---|---|---|---|---|")
    middle = [statistics.median(times) for times in (bare, ours, more)]
    print(
        f"| {chosen.data}, {chosen.net} | {middle[0]:.2f} | {middle[1]:.2f} | {middle[2]:.2f} | "
        f"{min(more):.2f} to {max(more):.2f} |"
    )


if __name__ == "__main__":
    main()
