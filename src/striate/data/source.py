"""What a reader finds on disk, before anything is decoded: splits of pictures and their raw targets.

A reader is one file in `readers/` with two functions: `recognise(path) -> bool` (cheap: looks at names,
decodes nothing) and `read(path) -> Source`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.errors import BadData


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture not yet decoded: a file, or a member of an archive that is read in place."""

    name: str
    """As the user knows it: the path below the source's root."""
    path: Path
    """The file, or the archive that holds it."""
    member: str | None = None
    """The name inside a zip."""
    span: tuple[int, int] | None = None
    """First byte and number of bytes inside a tar, which is not compressed."""
    box: tuple[int, int, int, int] | None = None
    """x1, y1, x2, y2 in pixels of the upright picture: the part that is meant. May reach over its edges."""


@dataclass
class Split:
    """The pictures of one split and the truth about them, in the same order."""

    images: np.ndarray | list[ImageFile]
    """Decoded pictures, uint8 (N, C, H, W), or files to decode."""
    targets: dict[str, Any]
    """The field's own names to one value per picture. Classification: {"label": int64 array (N,)}."""

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """What to call picture `index` in a message: its file, or its number."""
        return f"#{index}" if isinstance(self.images, np.ndarray) else self.images[index].name

    @property
    def fingerprint(self) -> str:
        """How many pictures there are, and 64 bits of their names where they have any."""
        names = "" if isinstance(self.images, np.ndarray) else "\n".join(file.name for file in self.images)
        digest = hashlib.blake2b(names.encode(errors="surrogateescape"), digest_size=8)
        return f"{len(self)} {digest.hexdigest()}"

    def same_pictures(self, other: "Split | None") -> bool:
        """Whether another split has the same pictures in the same order."""
        if other is None:
            return False
        if isinstance(self.images, list) or isinstance(other.images, list):
            return list(self.images) == list(other.images)
        return np.array_equal(self.images, other.images)

    def subset(self, indices: Sequence[int]) -> "Split":
        """The pictures at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        images = self.images[rows] if isinstance(self.images, np.ndarray) else [self.images[i] for i in rows]
        chosen = {
            key: value[rows] if isinstance(value, np.ndarray) else [value[i] for i in rows]
            for key, value in self.targets.items()
        }
        return Split(images, chosen)


@dataclass
class Source:
    """A data set as found: where it is, what it is called, what is in it."""

    name: str
    path: Path
    format: str
    """What was recognised, in words: "class folders", "IDX (MNIST)"."""
    splits: dict[str, Split]
    """Any of `train`, `val`, `test`; a set that has no splits of its own holds `all`."""
    classes: tuple[str, ...] = ()
    licence: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else the data says about itself, plain JSON: `background`, the name of class 0 of masks where the
    classes are of things; `joints`, `bones` and `mirrored` of a skeleton, and `jointed`, the number of
    the class that has it; `category_ids`; a vocabulary."""
    warnings: list[str] = field(default_factory=list)
    """What was noticed while reading and left out: one line each, naming the file."""
    held_out: bool = False
    """Whether `val` was drawn from `train`, and would be others of its pictures if some were added."""

    def unchanged(self, before: dict[str, str] | None, cure: str) -> dict[str, str]:
        """The fingerprint of every split: `120 9c0e5b...`.

        Raises:
            BadData: those of another time differ; the message ends with `cure`.
        """
        now = {name: split.fingerprint for name, split in self.splits.items()}
        if before in (None, now):
            return now
        differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        counts = [(before.get(name, "no").split()[0], now.get(name, "no").split()[0]) for name in differ]
        said = (
            f"{name} {a} then, {'others' if a == b else b} now"
            for name, (a, b) in zip(differ, counts, strict=True)
        )
        raise BadData(
            f"{self.name}: its pictures have changed since the training ({', '.join(said)}): {cure}"
        )

    @property
    def class_numbers(self) -> list[int]:
        """What COCO's files call the classes: the data's own numbers, or 1 and on."""
        return self.notes.get("category_ids") or list(range(1, len(self.classes) + 1))
