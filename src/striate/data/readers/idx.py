"""IDX, the format of MNIST and Fashion-MNIST: a header of big-endian sizes, then bytes. Plain or gzipped.

LeCun, Cortes, Burges 1998: two zero bytes, the type (8 = unsigned byte), the number of dimensions, each
dimension as 4 bytes, the values.
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from striate.data.readers.labels import labelled
from striate.data.source import Source, Split
from striate.errors import BadData

NAME = re.compile(r"(train|t10k|test)[-.](images)[-.]idx3[-.]ubyte(\.gz)?$")

DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FIRST_LABELS = {(5, 0, 4, 1, 9, 2, 1, 3, 1, 4): "MNIST", (9, 0, 0, 3, 0, 2, 7, 2, 5, 5): "Fashion-MNIST"}
"""The two sets have the same file names and sizes; the first ten labels tell them apart."""


def recognise(path: Path) -> bool:
    """A folder with a file of training or test images under its usual name."""
    return bool(_images(path))


def read(path: Path) -> Source:
    """`train` and `test`, grey pictures uint8 (N, 1, H, W)."""
    splits = {split: _split(file) for split, file in _images(path).items()}
    labels = {split: np.asarray(found.targets["label"]) for split, found in splits.items()}
    most = max(int(values.max(initial=0)) for values in labels.values())
    found = FIRST_LABELS.get(tuple(labels["train"][:10].tolist())) if "train" in labels else None
    if found == "Fashion-MNIST" or (found is None and "fashion" in str(path).lower() and most < 10):
        found, classes = "Fashion-MNIST", FASHION
    else:
        classes = DIGITS if most < 10 else tuple(str(i) for i in range(most + 1))
    return Source(path.name, path, f"IDX ({found})" if found else "IDX", splits, classes)


def _images(path: Path) -> dict[str, Path]:
    """Split -> its file of images, in the folder or in the `raw` folder that torchvision makes."""
    for folder in (path, path / "raw"):
        if folder.is_dir():
            files = {m[1]: file for file in sorted(folder.iterdir()) if (m := NAME.match(file.name))}
            if files:
                return {
                    ("train" if key == "train" else "test"): file for key, file in sorted(files.items())[::-1]
                }
    return {}


def _split(images: Path) -> Split:
    names = [images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")]
    labels = next(
        (file for n in (names[0], names[0] + ".gz") if (file := images.with_name(n)).is_file()), None
    )
    if labels is None:
        raise BadData(f"{images}: its labels are missing: {names[0]}[.gz] should lie beside it")
    pixels, truth = load(images, dimensions=3), load(labels, dimensions=1)
    if len(pixels) != len(truth):
        raise BadData(f"{images}: {len(pixels)} pictures, but {labels.name} holds {len(truth)} labels")
    return Split(pixels[:, None], labelled(truth))


def load(file: Path, dimensions: int) -> np.ndarray:
    """One IDX file of unsigned bytes -> a writeable uint8 array; `BadData` where it is none or cut short."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            magic = stream.read(4)
            if magic[:3] != b"\0\0\x08" or magic[3:] != bytes([dimensions]):
                raise BadData(
                    f"{file}: not an IDX file of bytes in {dimensions} dimensions: begins {magic.hex()}"
                )
            shape = [int.from_bytes(stream.read(4), "big") for _ in range(dimensions)]
            size = math.prod(shape)
            values = bytearray(stream.read(size + 1))
    except (OSError, EOFError, MemoryError, OverflowError, zlib.error) as why:
        raise BadData(f"{file}: cannot be read: {why}; fetch it again") from why
    if len(values) != size:
        found = "more" if len(values) > size else f"{len(values):,}"
        raise BadData(f"{file}: its header promises {size:,} bytes, there are {found}; fetch it again")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
