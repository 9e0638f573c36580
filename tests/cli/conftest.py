"""The command line, run in this process as the console script runs it."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from striate.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def striate(monkeypatch, capsys):
    """Runs the command line as the console script does, in a folder of its own."""

    def run(*arguments: object, cwd: Path) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["striate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return run
