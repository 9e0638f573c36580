"""The digits that come with scikit-learn: 1,797 scans of 8×8 pixels, values 0..16, read without a network.

From the UCI repository's "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak 1998), CC BY 4.0. The
file is read directly: importing scikit-learn takes longer than training on it.
"""

import importlib.util
from pathlib import Path

import numpy as np

from striate.data.readers.labels import labelled
from striate.data.source import Source, Split
from striate.errors import BadData


def find() -> Path:
    """Where the installed scikit-learn keeps the file; `BadData` where it is not installed."""
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise BadData("digits: they come with scikit-learn, which is missing: pip install scikit-learn")
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"


def recognise(path: Path) -> bool:
    """The file itself."""
    return path.name == "digits.csv.gz" and path.is_file()


def read(path: Path) -> Source:
    """Split `all`: pictures uint8 (1797, 1, 8, 8), 16 scaled to 255."""
    try:
        rows = np.loadtxt(path, delimiter=",", dtype=np.float64)
        pixels = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    except (OSError, EOFError, ValueError, IndexError) as why:
        raise BadData(f"{path}: cannot be read: {why}; install scikit-learn again") from why
    split = Split(pixels, labelled(rows[:, 64]))
    return Source("digits", path, "digits (scikit-learn)", {"all": split}, tuple("0123456789"))
