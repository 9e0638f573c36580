"""Two processes train what one trains, to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from striate import experiment, verbs
from striate.errors import BadRun
from striate.training import parallel

NET = "conv3-8 pad1, relu, pool2, fc32, relu, softmax10"


def striate(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "striate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def differences(one: Path, other: Path) -> list[float]:
    """The largest difference of every weight of two runs."""
    alone, shared = (load_file(run / "model.safetensors") for run in (one, other))
    return [float((tensor - shared[name]).abs().max()) for name, tensor in alone.items()]


COMMON = ["train", "classify", "--data", "digits", "--net", NET, "--batch", "101", "--lr", "0.05", "--json"]
COMMON += ["--set", "optimizer=sgd", "--set", "schedule=constant", "--set", "warmup=0"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of one process, two epochs, and its accuracy."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = striate(*COMMON, "--epochs", "2", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)["accuracy"]


def test_two_devices_match_one(alone: tuple[Path, float], tmp_path: Path) -> None:
    two = striate(*COMMON, "--epochs", "2", "--out", str(tmp_path / "two"), "--devices", "2")
    assert two.returncode == 0, two.stderr
    assert len(two.stdout.splitlines()) == 1
    assert abs(alone[1] - json.loads(two.stdout)["accuracy"]) < 0.01
    assert max(differences(alone[0], tmp_path / "two")) < 1e-4


def test_what_learns_no_longer_is_not_waited_for(tmp_path: Path) -> None:
    fixed = [*COMMON, "--epochs", "1", "--set", "freeze_first=0.4", "--out"]
    for folder, more in (("one", []), ("two", ["--devices", "2"])):
        done = striate(*fixed, str(tmp_path / folder), *more)
        assert done.returncode == 0, done.stderr
    assert max(differences(tmp_path / "one", tmp_path / "two")) < 1e-4


def test_two_processes_go_on_with_what_one_began(alone: tuple[Path, float], tmp_path: Path) -> None:
    began = striate(*COMMON, "--epochs", "1", "--out", str(tmp_path / "run"))
    assert began.returncode == 0, began.stderr
    ended = striate(*COMMON, "--epochs", "2", "--out", str(tmp_path / "run"), "--resume", "--devices", "2")
    assert ended.returncode == 0, ended.stderr
    assert "resuming" in ended.stderr
    assert max(differences(alone[0], tmp_path / "run")) < 1e-4


def test_two_launchers_meet_as_two_machines_do(alone: tuple[Path, float], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nnodes", "2"]
    launcher += ["--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
    command = [
        *launcher,
        sys.executable,
        "-m",
        "striate",
        *COMMON,
        "--epochs",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    machines = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=200) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert sum(bool(out.strip()) for out, _ in said) == 1  # one of them prints the result
    assert max(differences(alone[0], tmp_path / "run")) < 1e-4


def test_processes_are_told_of_the_epochs_and_data_is_fetched_before(monkeypatch, tmp_path: Path) -> None:
    """A resumed run may have more epochs, as many as its recipe has by itself; `download` counts here."""
    told: list[str] = []
    fetched: list[bool] = []
    monkeypatch.setattr(parallel, "launch", lambda devices, arguments: told.extend(arguments) or 1)
    monkeypatch.setattr(experiment, "open_data", lambda data, download, seed: fetched.append(download))
    with pytest.raises(BadRun, match="ended with exit code 1"):
        verbs.train("classify", "digits", NET, epochs=10, out=tmp_path, devices=2, download=True)
    assert "epochs=10" in told and fetched == [True]


def test_every_process_needs_a_share_of_the_batch(command_line, tmp_path: Path) -> None:
    command = ["train", "--data", "digits", "--net", NET, "--batch", "3", "--devices", "2", "--out", "x"]
    done = command_line(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert "batch 3 is too small for 2 processes" in done.stderr
