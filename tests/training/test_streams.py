"""A streamed training: larger than memory, resumed bit for bit, and the settings remember that it streams."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate import verbs
from striate.data import open_data
from striate.data.loader import Loader
from striate.data.prepare import Prepare
from striate.data.stream import Stream
from striate.errors import BadRun
from striate.tasks import TASKS
from striate.training.loop import Training
from striate.training.recipes import Recipe

SCRIPT = """
import resource, sys
from pathlib import Path
import torch
from torch import nn
from striate.data import open_data
from striate.data.loader import Loader
from striate.data.prepare import Prepare
from striate.data.store import decode
from striate.data.stream import Stream
from striate.tasks import TASKS
from striate.training.loop import Training
from striate.training.recipes import Recipe

torch.set_num_threads(1)
task, prepare, room = TASKS["classify"], Prepare((224, 224), 3, margin=28), 130 << 20
split = open_data(sys.argv[1]).splits["train"]
net = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 28, 2))

def trained(store):
    recipe = Recipe(epochs=1, batch=32, lr=0.001)
    training = Training(net, task, Loader(store, prepare, 32, 0, area=0.3, flip=True), recipe, evaluate=dict)
    list(training.run())
    return training.step

trained(Stream(split.subset(range(64)), prepare, task.targets, threads=2))  # what is needed once
status = Path("/proc/self/status").read_text().split()
used = int(status[status.index("VmData:") + 1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + room, used + room))
print(len(split) * 3 * 280 * 280 > 2 * room, trained(Stream(split, prepare, task.targets, threads=2)))
try:
    decode(split, prepare, limit_bytes=1 << 40)
except MemoryError:
    print("stored it does not fit")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a process's memory is Linux's")
def test_a_set_larger_than_memory_is_trained_on(tmp_path: Path) -> None:
    picture = tmp_path / "one.jpg"
    Image.effect_noise((96, 96), 60).convert("RGB").save(picture)
    for i in range(1500):
        place = tmp_path / "set" / "ab"[i % 2] / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(picture)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "set")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True 38", "stored it does not fit"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two classes of 30 JPEGs of 72×72 each, bright and dark, one of them cut short."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(60):
        place = root / ("bright" if i % 2 else "dark") / f"{i}.jpg"
        place.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 100, (9, 9, 3)) + 120 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).resize((72, 72)).save(place)
    place.write_bytes(place.read_bytes()[:400])
    return root


def test_a_streamed_training_goes_on_bit_for_bit(photographs: Path, tmp_path: Path) -> None:
    task, prepare = TASKS["classify"], Prepare((24, 24), 3, margin=4)
    split = open_data(photographs).splits["train"]

    def training(folder: Path, last: int | None = None) -> Training:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 484, 2)
        )
        stream = Stream(split, prepare, task.targets, fill=True)
        loader = Loader(stream, prepare, 8, 0, flip=True, area=0.2)
        made = Training(net, task, loader, Recipe(epochs=2, batch=8, lr=0.01), dict, folder, 0.0)
        made.stop = lambda: made.step == last
        return made

    whole = training(tmp_path / "whole")
    list(whole.run())
    list(training(tmp_path / "parts", last=4).run())
    second = training(tmp_path / "parts")
    assert second.resume() and second.step == 4
    list(second.run())
    for one, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_train_streams_on_request_and_remembers_it(photographs: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    asked = {"net": "conv4-4 stride4, relu, softmax2", "size": 32, "epochs": 8, "out": out}
    run = verbs.train("classify", photographs, stream=True, **asked)
    assert run.figures["accuracy"] > 0.7 and run.figures["images"] in (11, 12)
    assert json.loads((out / "checkpoint" / "settings.json").read_text())["stream"] is True
    said = capsys.readouterr().err
    assert "decoded batch by batch" in said and "left out 1 unreadable: bright/59.jpg" in said
    assert run.evaluate(photographs)["accuracy"] == run.figures["accuracy"]
    with pytest.raises(BadRun, match="cannot resume with stream False: the run was started with True"):
        verbs.train("classify", photographs, stream=False, resume=True, progress=False, **asked)


def test_what_fits_is_decoded_once_and_that_is_remembered_too(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    verbs.train("classify", photographs, "softmax2", size=32, epochs=1, out=out, progress=False)
    assert json.loads((out / "checkpoint" / "settings.json").read_text())["stream"] is False
