"""What many tests share: where the real data is, and one thread so that results and timings are steady."""

import os
from pathlib import Path

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
