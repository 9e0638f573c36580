"""What many tests share: where the real data is, and the command line, run in this process.

One thread, so that results and timings are steady.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

# Two test processes on two cores, and the processes they start: one thread each, or they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first case of a property imports and compiles things: its time says nothing.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; tests that need it skip where `STRIATE_DATA` is not set."""
    root = os.environ.get("STRIATE_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("STRIATE_DATA does not name a folder of data sets")
    return Path(root).resolve()


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def striate(monkeypatch, capsys):
    """Runs the command line as the console script does, in a folder of its own; starts no process."""
    from striate.cli import main

    def run(*arguments: object, cwd: Path) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["striate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def command_line(striate):
    """The same, where `striate` is the package."""
    return striate
