"""A training that is killed and resumed ends in the weights of one that was never disturbed, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NET = "conv3-8 pad1, batchnorm, relu, pool2, dropout0.2, softmax10"
TRAIN = ["train", "classify", "--data", "digits", "--net", NET, "--set", "ema=0.9", "--set", "shift=1"]


def striate(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "striate", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def rows(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timing = ("seconds", "images_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in timing} for line in lines]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """A run of 8 epochs, left in peace."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    done = striate(*TRAIN, "--epochs", "8", "--out", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["accuracy"] > 0.6
    return folder


def kill_while_training(folder: Path, epochs: int, wait: float, number: signal.Signals) -> int:
    """Start (or resume) a training, send a signal `wait` seconds after its first checkpoint of this life."""
    state = folder / "checkpoint" / "state.safetensors"
    before = state.stat().st_mtime_ns if state.exists() else 0
    script = (
        "import sys; from striate import verbs; from striate.errors import Interrupted\n"
        f"args = dict(net={NET!r}, changes=dict(ema=0.9, shift=1), progress=False, checkpoint_seconds=0.0)\n"
        "args |= dict(epochs=int(sys.argv[2]), out=sys.argv[1], resume=True)\n"
        "try:\n"
        "    verbs.train('classify', 'digits', **args)\n"
        "except Interrupted:\n"
        "    sys.exit(130)\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(epochs)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if state.exists() and state.stat().st_mtime_ns != before:
            time.sleep(wait)
            process.send_signal(number)
            break
        time.sleep(0.005)
    return process.wait(timeout=60)


def test_killed_several_times(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "run"
    chance = random.Random(5)
    codes = [kill_while_training(folder, 8, chance.uniform(0, 0.1), signal.SIGKILL) for _ in range(4)]
    assert codes.count(-signal.SIGKILL) >= 3, "the process was too quick to be killed"
    done = striate(*TRAIN, "--epochs", "8", "--out", str(folder), "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr
    assert weights(folder) == weights(unbroken)
    assert rows(folder) == rows(unbroken)


def test_interrupted_cleanly(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "run"
    assert kill_while_training(folder, 8, 0.2, signal.SIGINT) == 130
    unfinished = striate("evaluate", str(folder))
    assert unfinished.returncode == 2
    assert "not finished" in unfinished.stderr
    done = striate("train", "--resume", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert weights(folder) == weights(unbroken)


def test_a_finished_run_goes_on(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "run"
    start = striate(
        *TRAIN, "--set", "schedule=constant", "--set", "warmup=0", "--epochs", "2", "--out", str(folder)
    )
    assert start.returncode == 0, start.stderr
    more = striate(
        "train", "--resume", "--epochs", "4", "--set", "cuda_graph=no", "--out", str(folder), "--json"
    )
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["epochs"] == 4
    straight = tmp_path / "straight"
    striate(
        *TRAIN, "--set", "schedule=constant", "--set", "warmup=0", "--epochs", "4", "--out", str(straight)
    )
    assert weights(folder) == weights(straight)


def test_resuming_with_another_seed_is_refused(command_line, tmp_path: Path, unbroken: Path) -> None:
    done = command_line(*TRAIN, "--seed", "3", "--resume", "--out", unbroken, cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot resume with seed 3: the run was started with 0" in done.stderr


def test_a_damaged_checkpoint_is_named(command_line, tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoint").mkdir(parents=True)
    saved = (unbroken / "checkpoint" / "state.safetensors").read_bytes()
    (folder / "checkpoint" / "state.safetensors").write_bytes(saved[: len(saved) // 2])
    settings = (unbroken / "checkpoint" / "settings.json").read_text()
    (folder / "checkpoint" / "settings.json").write_text(settings)
    done = command_line("train", "--resume", "--out", folder, cwd=tmp_path)
    assert done.returncode == 2
    assert "state.safetensors: not a whole safetensors file" in done.stderr
