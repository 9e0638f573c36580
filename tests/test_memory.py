"""Memory is predicted without running: within 10 % of what a real training takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from striate.errors import BadSetting, DoesNotFit
from striate.memory import arrange_memory, largest_batch, peak_memory


class Block(nn.Module):
    """A residual block with batch norm."""

    def __init__(self, depth: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(depth, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and depth == width
        self.short = nn.Identity() if same else nn.Conv2d(depth, width, 1, stride, bias=False)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.short(x))


def convnetjs() -> nn.Module:
    stages = []
    for depth, width in ((3, 16), (16, 20), (20, 20)):
        stages += [nn.Conv2d(depth, width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(320, 10))


def vgg() -> nn.Module:
    stages = []
    for depth, width in ((3, 32), (32, 64), (64, 128)):
        convs = nn.Conv2d(depth, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        stages += [convs[0], nn.ReLU(), convs[1], nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *stages, nn.Flatten(), nn.Linear(8192, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10)
    )


def residual() -> nn.Module:
    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


CASES = {"convnetjs": (convnetjs, 32, 3072), "vgg": (vgg, 64, 176), "residual": (residual, 32, 1024)}


def _train(net: nn.Module, batch: int, side: int) -> None:
    """Two steps as the training loop takes them. Nothing is left of it."""
    net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    for _ in range(2):
        images = torch.empty(batch, 3, side, side, memory_format=torch.channels_last).normal_()
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(net(images), torch.zeros(batch, dtype=torch.long)).backward()
        optimizer.step()


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def measure() -> dict[str, int]:
    """Bytes by which the process grows as each network really trains, over what it has after a tiny step."""
    arrange_memory()  # as every training does
    torch.set_num_threads(1)
    grown = {}
    for name, (build, side, batch) in CASES.items():
        _train(build(), 2, side)
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
        _train(build(), batch, side)
        grown[name] = _status("VmHWM") - before
    return grown


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the high-water mark of memory can be set back on Linux only")
    out = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


@pytest.mark.parametrize("name", CASES)
def test_within_a_tenth_of_a_real_training(measured, name):
    build, side, batch = CASES[name]
    assert peak_memory(build(), (3, side, side), batch) == pytest.approx(measured[name], rel=0.1)


HELD = """
import torch
from striate.memory import arrange_memory, give_memory_back, keep_memory
arrange_memory()
keep_memory(needed={needed}, free=1000)
before = torch.ones(1)
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
start = resident()
large = torch.ones(25_000_000)
del large
print(resident() - start)
give_memory_back()
print(resident() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much a process holds")
@pytest.mark.parametrize(("needed", "kept"), [(100, True), (900, False)])
def test_freed_memory_is_kept_where_there_is_plenty(needed, kept):
    script = HELD.format(needed=needed)
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    held, after = map(int, out.stdout.split())
    assert (held > 90_000) == kept and after < 10_000


def test_a_network_without_activations_to_speak_of_is_its_weights_three_times():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4096), nn.Linear(4096, 10))
    weights = 4 * sum(weight.numel() for weight in net.parameters())
    assert peak_memory(net, (3, 32, 32), 2) == pytest.approx(3 * weights, rel=0.01)
    assert peak_memory(net, (3, 32, 32), 2, training=False) == pytest.approx(weights, rel=0.01)


def test_the_largest_batch_is_the_last_that_fits():
    net = residual()
    batch = largest_batch(net, (3, 32, 32), gigabytes=0.5)
    assert peak_memory(net, (3, 32, 32), batch) <= 0.5e9 < peak_memory(net, (3, 32, 32), batch + 1)
    assert largest_batch(net, (3, 32, 32), 0.5, training=False) > batch


def test_the_network_is_left_alone():
    net = residual().eval()
    peak_memory(net, (3, 32, 32), 4)
    assert not net.training and next(net.parameters()).grad is None


def test_errors_say_what_to_do():
    with pytest.raises(DoesNotFit, match="a batch of 2 takes .* GB, more than 0.001 GB"):
        largest_batch(vgg(), (3, 64, 64), 0.001)
    with pytest.raises(DoesNotFit, match="10: expects|expects 8192 features, gets"):
        peak_memory(vgg(), (3, 32, 32), 4)
    with pytest.raises(BadSetting, match="a number of GB above 0"):
        largest_batch(vgg(), (3, 64, 64), 0)


if __name__ == "__main__":
    print(json.dumps(measure()))
