"""Named sets: where each lies, and where it comes from if it is asked for.

A name is looked up under `STRIATE_DATA`, then in the user's cache, and downloaded only where the caller says
so: from the publisher, with its size and licence said first, checked against a known sum.
"""

import os
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from striate.data.readers import digits
from striate.errors import BadData
from striate.fetching import File, cache_root, data_root, fetch


@dataclass(frozen=True)
class NamedSet:
    """What is known of a set before it is here."""

    title: str
    licence: str
    files: tuple[File, ...] = ()
    also: tuple[str, ...] = ()
    """Other usual names, below `STRIATE_DATA`, of a folder or archive that holds it."""


_MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/"  # a copy: the publishers' own page no longer gives it
)
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_CIFAR_TERMS = "Krizhevsky 2009; free for research, pictures from the web"

SETS: dict[str, NamedSet] = {
    "digits": NamedSet("1,797 handwritten digits, 8×8 grey, built in", "Alpaydin, Kaynak 1998; CC BY 4.0"),
    "mnist": NamedSet(
        "MNIST: 70,000 handwritten digits, 28×28 grey",
        "LeCun, Cortes, Burges 1998; CC BY-SA 3.0",
        (
            File(_MNIST + "train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            File(_MNIST + "train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            File(_MNIST + "t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            File(_MNIST + "t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
        also=("MNIST/raw",),
    ),
    "fashion-mnist": NamedSet(
        "Fashion-MNIST: 70,000 pieces of clothing, 28×28 grey",
        "Zalando 2017; MIT",
        (
            File(_FASHION + "train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            File(_FASHION + "train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            File(_FASHION + "t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            File(_FASHION + "t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        also=("FashionMNIST/raw",),
    ),
    "cifar10": NamedSet(
        "CIFAR-10: 60,000 photographs of 10 kinds of things, 32×32 colour",
        _CIFAR_TERMS,
        (File(_CIFAR + "cifar-10-python.tar.gz", 170_498_071, "c58f30108f718f92721af3b95e74349a"),),
        also=(
            "cifar-10-batches-py",
            "cifar-10-batches-bin",
            "cifar-10-python.tar.gz",
            "cifar-10-binary.tar.gz",
        ),
    ),
    "cifar100": NamedSet(
        "CIFAR-100: 60,000 photographs of 100 kinds of things, 32×32 colour",
        _CIFAR_TERMS,
        (File(_CIFAR + "cifar-100-python.tar.gz", 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85"),),
        also=("cifar-100-python", "cifar-100-binary", "cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    ),
}


def find(data: str | Path, download: bool = False) -> Path:
    """Where a named set or a path is; `BadData` says where it was looked for and what would fetch it.

    Only `download=True` uses the network.
    """
    name = str(data)
    if name == "digits":
        return digits.find()
    if name in SETS:
        return _named(name, download)
    path = Path(data).expanduser()
    root = data_root()
    for place in (path, root / path if root else path):
        if os.path.exists(place):  # a Path objects to names longer than names may be
            return place
    here = f"in the working folder ({Path.cwd()})"
    where = f"not {here}, and STRIATE_DATA is not set"
    if root:
        where = f"neither {here} nor under STRIATE_DATA ({root})"
    near = get_close_matches(name, SETS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BadData(f"{name}: {where}; {hint}named sets: {', '.join(SETS)}")


def same_set(one: str, other: str) -> bool:
    """Whether two names or paths mean the same set; one that is not there is no other's."""
    try:
        return one == other or find(one).resolve() == find(other).resolve()
    except BadData:
        return False


def _named(name: str, download: bool) -> Path:
    known, root = SETS[name], data_root()
    usual = (name, f"{name}.zip", *known.also)
    here = next((root / n for n in usual if (root / n).exists()), None) if root else None
    if here is not None:
        return here
    folder = cache_root() / "data" / name
    missing = [file for file in known.files if not (folder / file.name).is_file()]
    if not missing:
        return folder
    size = sum(file.size for file in missing) / 1e6
    if not download:
        searched = f"under STRIATE_DATA ({root}) or" if root else "(STRIATE_DATA is not set)"
        raise BadData(
            f"{name}: not found {searched} in {folder}; --download fetches it "
            f"({size:.0f} MB, {known.licence})"
        )
    print(f"{known.title}\nfetching {size:.0f} MB to {folder}; licence: {known.licence}", file=sys.stderr)
    for file in missing:
        fetch(file, folder)
    return folder
