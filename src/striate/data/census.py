"""Every picture of a data set looked at once: can it be read, how large is it, which others have its pixels.

The checks of the doctor work on what is noted here, arrays with one row per readable picture over all splits,
and never open a file themselves. A training already holds its pictures decoded: `of_stores` notes those.
"""

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from striate.data.augment import channels_last
from striate.data.picture import decode, encoded, formats
from striate.data.source import ImageFile, Source, Split
from striate.data.store import Progress, each
from striate.data.stream import Pictures, Stream

SIDE = 32
"""Side of a thumbnail."""


class Place(NamedTuple):
    """One picture of a source."""

    split: str
    index: int


@dataclass
class Census:
    """N pictures that can be read, and the names of those that cannot."""

    splits: tuple[str, ...]
    split: np.ndarray
    """int64 (N,): number of the picture's split."""
    index: np.ndarray
    """int64 (N,): its place in that split."""
    label: np.ndarray
    """int64 (N,): its class, -1 where the source has no labels."""
    names: list[str]
    key: np.ndarray
    """uint64 (N,): equal for two pictures with the same pixels, and for no others."""
    contrast: np.ndarray
    """int64 (N,): brightest minus darkest value, 0..255."""
    size: np.ndarray | None = None
    """int64 (N, 2): height, width."""
    mode: list[str] = field(default_factory=list)
    """N times Pillow's word for how colour is stored: "RGB", "L", "P", ..."""
    thumbs: Tensor | None = None
    """uint8 (N, 1 or 3, 32, 32): the whole picture, squeezed."""
    unreadable: dict[Place, str] = field(default_factory=dict)
    """Why, for each picture that could not be decoded."""
    unread: list[str] = field(default_factory=list)
    """The same in one line each, where only that is known."""

    def __len__(self) -> int:
        return len(self.key)

    def place(self, row: int) -> Place:
        """Where picture `row` is in the source."""
        return Place(self.splits[self.split[row]], int(self.index[row]))


def labels_of(targets: dict[str, Any], n: int) -> np.ndarray:
    """int64 (n,): the classes of a split's pictures; -1 where it has none, or none that are whole numbers."""
    label = targets.get("label")
    label = np.asarray(label.cpu() if isinstance(label, Tensor) else label)
    known = label.shape == (n,) and label.dtype.kind in "iu"
    return label.astype(np.int64) if known else np.full(n, -1, dtype=np.int64)


def take(source: Source, progress: Progress | None = None) -> Census:
    """Open every picture of every split; damaged ones are noted, not raised."""
    progress, parts = progress or (lambda done, total: None), []
    total = sum(len(split) for split in source.splits.values())
    for number, (name, split) in enumerate(source.splits.items()):
        done = sum(len(part.key) + len(part.unreadable) for part in parts)
        if isinstance(split.images, np.ndarray):
            part = _of_pixels(split, split.images)
            progress(done + len(split), total)
        else:
            part = _of_files(name, split.images, lambda n, _, before=done: progress(before + n, total))
        rows, known = part.index, [split.name(i) for i in part.index.tolist()]
        part.names = [f"{name} {one}" if one.startswith("#") else one for one in known]
        part.label = labels_of(split.targets, len(split))[rows]
        part.split = np.full(len(rows), number)
        parts.append(part)
    return _joined(tuple(source.splits), parts)


def of_stores(source: Source, stores: dict[str, Pictures]) -> Census:
    """What is known of pictures without opening a file, for the checks that take no time.

    Of streamed ones that is their labels: they count as different, and as showing something.
    """
    parts = []
    for number, (name, store) in enumerate(stores.items()):
        n = len(store)
        names = [f"{name} {known}" if known.startswith("#") else known for known in store.names]
        label, split = labels_of(store.targets, n), np.full(n, number)
        if isinstance(store, Stream):
            keys, contrast = np.arange(n, dtype=np.uint64) + np.uint64(number << 48), np.full(n, 255)
        else:
            images = store.images.cpu()
            if channels_last(images):  # the order of a picture's bytes is all the same here, but not a copy
                images = images.permute(0, 2, 3, 1)
            low, high = _extremes(images)
            keys, contrast = row_keys(images.numpy()), high - low
        part = Census((), split, np.arange(n), label, names, keys, contrast)
        part.unread = list(store.left_out)
        parts.append(part)
    return _joined(tuple(stores), parts)


def row_keys(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, ...) -> uint64 (N,): 64-bit hashes of the rows, thousands a millisecond.

    Eight bytes at a time are mixed with their position's random number, and the words of a row are summed.
    """
    rows = pixels.reshape(len(pixels), int(np.prod(pixels.shape[1:])))
    words = -(-rows.shape[1] // 8)
    random = np.random.default_rng(1).integers(1, 1 << 63, size=words, dtype=np.uint64)
    odd = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
    keys = np.empty(len(rows), dtype=np.uint64)
    step = max(1, (1 << 18) // words)  # words that stay in the cache
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        if rows.shape[1] % 8:
            some = np.pad(some, ((0, 0), (0, 8 * words - rows.shape[1])))
        mixed = (np.ascontiguousarray(some).view(np.uint64) ^ random) * odd[0]
        mixed ^= mixed >> np.uint64(32)
        mixed *= odd[1]
        mixed ^= mixed >> np.uint64(29)
        keys[start : start + step] = mixed.sum(axis=1)
    return keys


def _extremes(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, C, H, W) -> the darkest and brightest value of each, int64 (N,)."""
    rows = images.numpy().reshape(len(images), int(np.prod(images.shape[1:])))
    return rows.min(axis=1).astype(np.int64), rows.max(axis=1).astype(np.int64)


def _of_pixels(split: Split, pixels: np.ndarray) -> Census:
    """The census of pictures that come decoded: all at once."""
    n, nothing = len(split), np.empty(0, dtype=np.int64)
    parts = [_shrunk(torch.from_numpy(np.array(pixels[i : i + 4096]))) for i in range(0, n, 4096)]
    thumbs = torch.cat([torch.zeros((0, pixels.shape[1], SIDE, SIDE), dtype=torch.uint8), *parts])
    low, high = _extremes(thumbs)
    size = np.tile(pixels.shape[2:], (n, 1))
    mode = ["L" if pixels.shape[1] == 1 else "RGB"] * n
    return Census((), nothing, np.arange(n), nothing, [], row_keys(pixels), high - low, size, mode, thumbs)


def _shrunk(images: Tensor) -> Tensor:
    if images.shape[2:] == (SIDE, SIDE):
        return images
    size = (SIDE, SIDE)
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _of_files(name: str, files: list[ImageFile], progress: Progress) -> Census:
    """The census of files, read by threads."""
    n, nothing = len(files), np.empty(0, dtype=np.int64)
    thumbs = torch.zeros((n, 3, SIDE, SIDE), dtype=torch.uint8)
    size, key = np.zeros((n, 2), dtype=np.int64), np.zeros(n, dtype=np.uint64)
    mode, whole = [""] * n, np.ones(n, dtype=bool)

    def read(i: int) -> None:
        thumb, size[i], mode[i], key[i], whole[i] = _seen(files[i])
        thumbs[i] = torch.from_numpy(thumb)

    damaged = each(n, read, size, progress)
    rows = np.setdiff1d(np.arange(n), list(damaged))
    _settle(key, whole, files, rows)
    thumbs = thumbs[torch.from_numpy(rows)]
    low, high = _extremes(thumbs)
    modes = [mode[i] for i in rows.tolist()]
    unreadable = {Place(name, i): why for i, why in damaged.items()}
    return Census(
        (), nothing, rows, nothing, [], key[rows], high - low, size[rows], modes, thumbs, unreadable
    )


Seen = tuple[np.ndarray, tuple[int, int], str, int, bool]
"""Thumbnail uint8 (3, 32, 32), (height, width), Pillow's mode, key, whether the key is of all pixels."""


def _seen(file: ImageFile) -> Seen:
    """One file. Large JPEGs are decoded at reduced scale: their key is of fewer pixels, see `_settle`."""
    data = encoded(file)
    mode, picture = _opened(data)
    image, full = decode(picture or data, file.name, need=2 * SIDE)
    thumb = image if image.size == (SIDE, SIDE) else image.resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.array(thumb.convert("RGB")).transpose(2, 0, 1)
    return pixels, full, mode, _key(image, full), image.height == full[0]


def _opened(data: bytes) -> tuple[str, Image.Image | None]:
    """Pillow's mode, and the open picture unless `decode` does better with the bytes, as with a JPEG."""
    try:
        image = Image.open(BytesIO(data), formats=formats(data))
    except Exception:  # `decode` meets it again and says what it is
        return "", None
    large = image.width * image.height > (Image.MAX_IMAGE_PIXELS or np.inf)
    return image.mode, None if large or image.format == "JPEG" else image


def _key(image: Image.Image, full: tuple[int, int]) -> int:
    """64 bits of the pixels, their arrangement, and the size of the picture they were reduced from."""
    digest = hashlib.blake2b(repr((image.mode, image.size, full)).encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _settle(key: np.ndarray, whole: np.ndarray, files: list[ImageFile], rows: np.ndarray) -> None:
    """Pictures that were equal at reduced scale get the keys of all their pixels."""
    partly = rows[~whole[rows]]
    values, counts = np.unique(key[partly], return_counts=True)
    for i in partly[np.isin(key[partly], values[counts > 1])].tolist():
        image, full = decode(files[i])
        key[i] = _key(image, full)


def _joined(splits: tuple[str, ...], parts: list[Census]) -> Census:
    """The splits' parts as one; thumbnails become grey where no picture has colour."""

    def rows(field: str) -> np.ndarray:
        return np.concatenate([getattr(part, field) for part in parts])

    thumbs = [part.thumbs for part in parts if part.thumbs is not None]
    channels = max((t.shape[1] for t in thumbs), default=0)
    if channels == 3 and all(_is_grey(t) for t in thumbs):
        channels = 1
    thumbs = [t[:, :channels] if t.shape[1] >= channels else t.expand(-1, channels, -1, -1) for t in thumbs]
    return Census(
        splits,
        rows("split"),
        rows("index"),
        rows("label"),
        [name for part in parts for name in part.names],
        rows("key"),
        rows("contrast"),
        rows("size") if thumbs else None,
        [mode for part in parts for mode in part.mode],
        torch.cat(thumbs) if thumbs else None,
        {place: why for part in parts for place, why in part.unreadable.items()},
        [line for part in parts for line in part.unread],
    )


def _is_grey(thumbs: Tensor) -> bool:
    return thumbs.shape[1] == 1 or bool((thumbs[:, :1] == thumbs[:, 1:]).all())
