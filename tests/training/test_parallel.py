"""Two processes train what one trains, to rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

NET = "conv3-8 pad1, relu, pool2, fc32, relu, softmax10"


def striate(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "striate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_two_devices_match_one(tmp_path: Path) -> None:
    common = ["train", "classify", "--data", "digits", "--net", NET, "--epochs", "2", "--batch", "101"]
    common += ["--set", "optimizer=sgd", "--lr", "0.05", "--json"]
    one = striate(*common, "--out", str(tmp_path / "one"))
    two = striate(*common, "--out", str(tmp_path / "two"), "--devices", "2")
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert len(two.stdout.splitlines()) == 1
    assert abs(json.loads(one.stdout)["accuracy"] - json.loads(two.stdout)["accuracy"]) < 0.01
    alone, shared = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in alone.items():
        assert (tensor - shared[name]).abs().max() < 1e-4, name


def test_every_process_needs_a_share_of_the_batch(tmp_path: Path) -> None:
    done = striate(
        "train",
        "--data",
        "digits",
        "--net",
        NET,
        "--batch",
        "3",
        "--devices",
        "2",
        "--out",
        str(tmp_path / "x"),
    )
    assert done.returncode == 2
    assert "batch 3 is too small for 2 processes" in done.stderr
