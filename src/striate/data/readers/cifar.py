"""CIFAR-10 and -100 as published (Krizhevsky 2009): the python and the binary version, archived or unpacked.

The python version is made of pickles, and a pickle can run any program. So nothing is handed to numpy's own
unpickling: the few names that these files use become inert stand-ins below, and every other name is refused.
"""

import pickle
import re
import tarfile
import zlib
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from striate.data.readers.labels import labelled
from striate.data.source import Source, Split
from striate.errors import BadData

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

NAME = re.compile(
    r"(data_batch_\d|test_batch)(\.bin)?$|(train|test)(\.bin)?$|.*meta(\.txt)?$|fine_label_names\.txt$"
)
"""Every file of the four published archives that is of use."""

FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "cifar-100-binary")
ARCHIVES = (
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
    "cifar-100-python.tar.gz",
    "cifar-100-binary.tar.gz",
)

LARGEST = 1 << 28
"""Bytes of one file of an archive (256 MiB); the largest published one has 155 MB."""

PIXELS = 3 * 32 * 32


def recognise(path: Path) -> bool:
    """A folder with CIFAR's batches (or with the published folder or archive), or a tar that begins so."""
    return _place(path) is not None


def read(path: Path) -> Source:
    """`train` and `test`, pictures uint8 (N, 3, 32, 32); of CIFAR-100 the fine labels."""
    place = _place(path)
    if place is None:
        raise BadData(f"{path}: no batches of CIFAR-10 or CIFAR-100 here")
    files = _files(place)
    hundred = "train" in files or "train.bin" in files
    batches = {"train": [], "test": []}
    for name in sorted(files):
        if re.match(r"data_batch|test_batch|(train|test)(\.bin)?$", name):
            where = f"{place}: {name}"
            parse = _binary if name.endswith(".bin") else _python
            batches["test" if name.startswith("test") else "train"].append(parse(files[name], where, hundred))
    splits = {split: _join(parts) for split, parts in batches.items() if parts}
    most = max(int(np.asarray(split.targets["label"]).max(initial=0)) for split in splits.values())
    classes = _classes(files, place, hundred)
    if most >= len(classes):
        raise BadData(f"{place}: has label {most}, but {len(classes)} classes; fetch it again")
    title = "CIFAR-100" if hundred else "CIFAR-10"
    source = Source(path.name.removesuffix(".tar.gz"), path, title, splits, classes)
    published = 1 if hundred else 5
    if len(batches["train"]) != published:
        source.warnings.append(f"{place}: {len(batches['train'])} of the {published} training files are here")
    return source


def _place(path: Path) -> Path | None:
    """The folder or archive that holds the batches, at `path` or just inside it."""
    if path.is_file():
        return path if path.name.endswith((".tar.gz", ".tgz", ".tar")) and _begins_like_cifar(path) else None
    for folder in (path, *(path / name for name in FOLDERS)):
        if any((folder / n).is_file() for n in ("data_batch_1", "data_batch_1.bin", "fine_label_names.txt")):
            return folder
        if (folder / "meta").is_file() and (folder / "train").is_file():
            return folder
    return next((file for name in ARCHIVES if (file := path / name).is_file()), None)


def _begins_like_cifar(path: Path) -> bool:
    try:
        with tarfile.open(path) as archive:
            first = [member.name for _ in range(4) if (member := archive.next()) is not None]
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        return "cifar" in path.name  # `read` says what is wrong with it
    return any(name.split("/")[0] in FOLDERS for name in first)


def _files(place: Path) -> dict[str, bytes]:
    """The useful files' contents, by name."""
    try:
        if place.is_dir():
            return {file.name: file.read_bytes() for file in place.iterdir() if NAME.match(file.name)}
        found = {}
        with tarfile.open(place) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isfile() and NAME.match(name):
                    if member.size > LARGEST:
                        raise BadData(
                            f"{place}: {name} has {member.size:,} bytes, more than CIFAR's files have"
                        )
                    content = archive.extractfile(member)
                    found[name] = content.read() if content else b""
        return found
    except (OSError, EOFError, tarfile.TarError, zlib.error) as why:
        raise BadData(f"{place}: cannot be read: {why}; fetch it again") from why


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> Split:
    images, labels = zip(*parts, strict=True)
    return Split(np.concatenate(images).reshape(-1, 3, 32, 32), labelled(np.concatenate(labels)))


def _binary(data: bytes, where: str, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one label byte (CIFAR-100: coarse and fine) and 3,072 pixels."""
    row = PIXELS + (2 if hundred else 1)
    if not data or len(data) % row:
        raise BadData(f"{where}: has {len(data):,} bytes, not a multiple of {row}; fetch it again")
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, row)
    return rows[:, -PIXELS:], rows[:, -PIXELS - 1]


def _python(data: bytes, where: str, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dictionary of `data`, uint8 (n, 3072), and `labels` or `fine_labels`."""
    batch = unpickle(data, where)
    pixels, labels = batch.get("data"), batch.get("fine_labels" if hundred else "labels")
    pixels = pixels.value if isinstance(pixels, _Array) else None
    if pixels is None or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise BadData(f"{where}: holds no `data` of {PIXELS} bytes a picture")
    if not isinstance(labels, list) or len(labels) != len(pixels) or not all(type(i) is int for i in labels):
        raise BadData(f"{where}: its labels are not one whole number for each of {len(pixels)} pictures")
    if labels and not 0 <= min(labels) <= max(labels) < 1000:
        raise BadData(f"{where}: its labels lie outside the classes")
    return pixels, np.array(labels)


def _classes(files: dict[str, bytes], place: Path, hundred: bool) -> tuple[str, ...]:
    """The class names that the archive gives; without them CIFAR-10's, or numbers."""
    for name in ("fine_label_names.txt", "batches.meta.txt"):
        if name in files:
            return tuple(files[name].decode("utf-8", "replace").split())
    for name, key in (("batches.meta", "label_names"), ("meta", "fine_label_names")):
        if name in files:
            names = unpickle(files[name], f"{place}: {name}").get(key)
            if isinstance(names, list):
                return tuple(_text(n) for n in names)
    return tuple(str(i) for i in range(100)) if hundred else TEN


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def unpickle(data: bytes, where: str) -> dict[str, Any]:
    """A pickled dictionary of numbers, text, lists and byte arrays; `BadData` for anything else."""
    try:
        found = _Unpickler(BytesIO(data), encoding="bytes").load()
    except BadData as why:
        raise BadData(f"{where}: {why}") from None
    except Exception as why:  # damaged pickles end in any exception there is
        raise BadData(f"{where}: cannot be read: {type(why).__name__}: {why}; fetch it again") from why
    if not isinstance(found, dict):
        raise BadData(f"{where}: holds a {type(found).__name__}, not CIFAR's dictionary")
    return {_text(key): value for key, value in found.items()}


class _Array:
    """Stands in for a numpy array while unpickling: takes only unsigned bytes, copied by us."""

    value: np.ndarray | None = None

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Type) or dtype.name not in ("u1", "|u1") or fortran:
            raise BadData("holds an array of something else than bytes")
        content = content.encode("latin1") if isinstance(content, str) else content
        self.value = np.frombuffer(content, dtype=np.uint8).reshape(shape)


class _Type:
    """Stands in for a numpy dtype: remembers its name."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = _text(name)

    def __setstate__(self, _: Any) -> None: ...


def _latin1(text: str, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes in an old pickle."""
    if _text(encoding) != "latin1":
        raise BadData(f"asks for the encoding {_text(encoding)!r}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise BadData(
                f"asks to run {module}.{name}, which CIFAR's files never do: refused, do not trust it"
            )
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise BadData("refers to objects outside the file: refused")
