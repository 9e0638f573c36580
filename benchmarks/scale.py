"""What processes cost and bring: one training under `torchrun` with 1, 2 and 4 of them on this machine.

    python benchmarks/scale.py [--data cifar10] [--net resnet20] [--processes 1,2,4] [--stream]

The batch, the seed and the settings stay the same: each process takes its part of every batch, and gradients
are averaged by gloo (NCCL on GPUs). With more processes than cores they share them. `memory` is the largest
resident memory that one process reached, read from /proc while they run; it contains PyTorch and the
pictures, which every process holds unless they are streamed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def started_by(process: int) -> list[int]:
    """The numbers of all processes below one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended while we looked
            continue
    found, more = [], [process]
    while more:
        more = [child for child, parent in parents.items() if parent in more]
        found += more
    return found


def peaks(process: int) -> dict[int, int]:
    """Process number -> largest resident bytes so far, of those that train."""
    found = {}
    for child in started_by(process):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            status = Path(f"/proc/{child}/status").read_text()
        except OSError:
            continue
        if b"torch.distributed.run" not in command and "VmHWM" in status:
            found[child] = 1024 * int(status.split("VmHWM:")[1].split()[0])
    return found


def train(processes: int, chosen: argparse.Namespace) -> dict[str, float]:
    """One training: what `model.json` says of it, the seconds of everything and the memory of one process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
        command += [f"--nproc-per-node={processes}", sys.executable, "-m", "striate", "train", "classify"]
        command += ["--data", chosen.data, "--net", chosen.net, "--epochs", str(chosen.epochs)]
        command += ["--batch", str(chosen.batch), "--out", f"{folder}/run"]
        command += ["--stream"] if chosen.stream else []
        threads = max(1, (os.cpu_count() or 1) // processes)
        began, most = time.perf_counter(), {}
        running = subprocess.Popen(
            command,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while running.poll() is None:
            most |= peaks(running.pid)
            time.sleep(0.2)
        if running.returncode:
            raise SystemExit(f"{' '.join(command)}: ended with {running.returncode}")
        figures = json.loads(Path(folder, "run", "model.json").read_text())["figures"]
        whole = time.perf_counter() - began
        return figures | {"whole": whole, "memory": max(most.values()), "threads": threads}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--net", default="resnet20")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--stream", action="store_true")
    chosen = parser.parse_args()
    print(
        "| processes × threads | pictures/s | accuracy | seconds of training | of everything | memory, GB |"
    )
    print("|---|---|---|---|---|---|")
    for processes in map(int, chosen.processes.split(",")):
        found = train(processes, chosen)
        cells = [
            f"{processes} × {found['threads']}",
            f"{found['images_per_second']:,.0f}",
            f"{found['accuracy']:.4f}",
            f"{found['seconds']:.0f}",
            f"{found['whole']:.0f}",
            f"{found['memory'] / 1e9:.2f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
