"""Several processes that train one network: PyTorch's own launcher and process group, nothing else."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from striate.errors import BadSetting

GRACE = 40.0
"""Seconds until a launcher that was stopped is told again: it gives its processes 30."""

STOPPED = 130
"""The exit code of what Ctrl-C or a polite kill stopped."""


def ranks() -> tuple[int, int]:
    """(this process's rank, number of processes): (0, 1) unless a launcher such as torchrun started us."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def beside() -> int:
    """How many of the processes share this machine, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", ranks()[1]))


def join() -> torch.device:
    """Enter the process group when a launcher started us; returns the device to train on.

    Every process takes its own GPU where there are enough of them, and the CPU otherwise.
    """
    _, world = ranks()
    local = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.device_count() >= beside():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
        if world > 1:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // beside()))
    if world > 1 and not distributed.is_initialized():
        # The others wait while the first one judges and writes, which may take longer than PyTorch's minutes.
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=1))
    return device


def leave() -> None:
    """Leave the process group, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def meet() -> None:
    """Wait until every process is here: what the first one writes, the others read."""
    if distributed.is_initialized():
        distributed.barrier()


def agree(answer: bool) -> bool:
    """True when any process says so; every process must ask."""
    if not distributed.is_initialized():
        return answer
    votes = torch.tensor(int(answer), device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(votes, distributed.ReduceOp.MAX)
    return bool(votes)


def launch(devices: int, arguments: list[str]) -> int:
    """Run `python -m striate ARGUMENTS` in `devices` processes on this machine; returns the exit code.

    `STOPPED` where Ctrl-C or a polite kill ended them, which they hear as one process does.
    """
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise BadSetting(f"--devices {devices}: this machine has {gpus} GPU{'s' if gpus > 1 else ''}.")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    command += [f"--nproc-per-node={devices}", sys.executable, "-m", "striate", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // devices))}
    # Standard output belongs to the process that was asked: it prints the result once, when all are done.
    stopped = False
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as launcher:

        def pass_on(*_: Any) -> None:
            nonlocal stopped
            stopped = True
            launcher.terminate()

        main = threading.current_thread() is threading.main_thread()  # signals are heard there alone
        usual = signal.signal(signal.SIGTERM, pass_on) if main else None
        try:
            while True:
                try:
                    code = launcher.wait(GRACE if stopped else None)
                    return STOPPED if stopped and code else code
                except KeyboardInterrupt:  # a terminal's reaches the launcher too
                    stopped = True
                except subprocess.TimeoutExpired:
                    launcher.terminate()
        finally:
            if main:
                signal.signal(signal.SIGTERM, usual)
