"""The decoded data set: uint8 pictures of one size in one tensor, in memory or in a memory-mapped file.

Pictures are decoded once, by threads (Pillow lets go of the interpreter while it decodes), and cost an epoch
nothing afterwards. A damaged picture is left out and named; the order is that of the split.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate import ink
from striate.data.augment import Warp, channels_last
from striate.data.crops import crop_each
from striate.data.picture import Picture, encoded, open_picture
from striate.data.prepare import Fit, Placed, Prepare, to_pixels
from striate.data.reuse import Arrays
from striate.data.source import Split
from striate.errors import BadData

Target = dict[str, Any]
Progress = Callable[[int, int], None]
MakeTargets = Callable[[dict[str, Any], Fit], Target]

FIRST = 4
"""Pictures that are decoded before it is known how large they are."""

CHUNK = 64
"""Pictures that a thread takes at a time, at most."""

TINY = 64 * 64
"""Pixels of pictures that one thread decodes faster than two that take turns at the interpreter."""


@dataclass
class Store:
    """N pictures and the truth about them, ready to be batched."""

    images: Tensor
    """uint8 (N, C, Hs, Ws), of `prepare.stored`."""
    targets: Target
    """Field name -> tensor (N, ...) or, where pictures have unequal counts, list of N."""
    fit: Fit
    """Where each original's pixels went."""
    names: list[str]
    """What to call each picture in a message."""
    left_out: list[str] = field(default_factory=list)
    """One line for every damaged picture: its name and why."""
    lead: ClassVar[int] = 0
    """Batches that it pays to announce by `ahead`; a `Stream` has others."""
    file: Path | None = None
    """The memory-mapped file that holds the pixels, where they are not in memory. `close` deletes it."""

    def __post_init__(self) -> None:
        self._memory = Arrays()
        if self.file is not None:  # the file also goes when the store is forgotten, or the program ends
            self._delete = weakref.finalize(self, shutil.rmtree, self.file.parent, ignore_errors=True)

    @property
    def crops(self) -> bool:
        """Whether `batch` crops as it is told: then no picture is copied that is not cropped."""
        return self.images.device.type == "cpu"

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor, drawn: Warp | None = None) -> tuple[Tensor, Target]:
        """int64 (B,) -> (uint8 (B, C, Hs, Ws), the targets of those pictures).

        With boxes `drawn` for them it is what each box shows, mirrored as drawn, (B, C, H, W).
        """
        chosen: Target = {}
        for key, value in self.targets.items():
            if isinstance(value, Tensor):
                chosen[key] = value.index_select(0, indices)
            else:
                chosen[key] = [value[i] for i in indices.tolist()]
        if self.crops and drawn is not None and drawn.box is not None:
            rows = indices.tolist()
            return crop_each(self.images, rows, drawn.box, drawn.flip, drawn.size, self._memory), chosen
        rows = indices.to(self.images.device, non_blocking=True)
        if channels_last(self.images):
            return self.images.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2), chosen
        return self.images.index_select(0, rows), chosen

    def ahead(self, indices: Tensor, drawn: Warp | None = None) -> None:
        """Pictures that will be asked for soon: they are here already."""

    def sample(self) -> Tensor:
        """The pictures to measure means and colours on, uint8 (n, C, Hs, Ws): all of them."""
        return self.images

    def readable(self) -> "Store":
        """The pictures that can be read: those that cannot were left out from the beginning."""
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the pictures take."""
        return self.images.nbytes

    def move(self, device: torch.device) -> None:
        """Keep the pictures on another device."""
        self.images = self.images.to(device)

    def close(self) -> None:
        """Delete the memory-mapped file, if there is one. The store is of no use afterwards."""
        if self.file is not None:
            self.images = self.images.new_empty((0, *self.images.shape[1:]))
            self._delete()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NoneReadable(BadData):
    """Not one picture of a split can be read; `why` has a line about each."""

    def __init__(self, why: list[str]) -> None:
        super().__init__(f"none of the {len(why)} pictures can be read; the first: {why[0]}")
        self.why = why


def decode(
    split: Split,
    prepare: Prepare,
    targets: MakeTargets | None = None,
    limit_bytes: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Read every picture of a split; `BadData` where none can be read.

    `targets` turns the raw targets of the pictures that were read, and their `Fit`, into stored ones.
    Pixels above `limit_bytes` (without it: half of the free memory) go to a memory-mapped temporary file.
    `progress(done, total)` is called from time to time.
    """
    progress = progress or (lambda done, total: None)
    if not len(split):
        raise BadData("the split holds no pictures")
    limit = free_memory() // 2 if limit_bytes is None else limit_bytes
    if isinstance(split.images, np.ndarray) and split.images.shape[2:] == prepare.content:
        pixels, fit, file = _as_they_are(split.images, prepare, limit, progress)
        damaged: dict[int, str] = {}
    else:
        pixels, fit, damaged, file = _read_all(split, prepare, limit, progress)
    images = torch.from_numpy(pixels)
    kept = np.setdiff1d(np.arange(len(split)), list(damaged))
    names = [split.name(i) for i in kept.tolist()]
    if damaged:
        split, fit, images = split.subset(kept.tolist()), fit.subset(kept), _close_ranks(images, kept)
    try:
        made = (targets or as_tensors)(split.targets, fit)
    except BaseException:
        _remove(file)
        raise
    return Store(images, made, fit, names, list(damaged.values()), file)


def as_tensors(raw: Target, fit: Fit) -> Target:
    """Arrays become tensors; anything else stays a list."""
    return {k: torch.as_tensor(v) if isinstance(v, np.ndarray) else list(v) for k, v in raw.items()}


def _as_they_are(
    images: np.ndarray, prepare: Prepare, limit: int, progress: Progress
) -> tuple[np.ndarray, Fit, Path | None]:
    """Pictures that are decoded and have the right size: taken without a copy where nothing is to change."""
    n, height, width = len(images), *prepare.content
    border, file = prepare.border, None
    if (
        images.shape[1] == prepare.channels
        and not border
        and images.flags.c_contiguous
        and images.flags.writeable
    ):
        pixels = images
    else:
        pixels, file = _allocate((n, *prepare.stored), limit)
        inner = pixels[:, :, border : border + height, border : border + width]
        for start in range(0, n, 4096):
            inner[start : start + 4096] = _recolour(images[start : start + 4096], prepare.channels)
            progress(min(start + 4096, n), n)
    progress(n, n)
    offset, original = np.full((n, 2), float(border)), np.tile([height, width], (n, 1))
    fit = Fit(np.ones((n, 2)), offset, original, prepare.stored[1:])
    return pixels, fit, file


def _recolour(images: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (N, C, H, W) -> (N, channels, H, W); colour to grey as Pillow rounds it (ITU-R 601)."""
    if images.shape[1] == 3 and channels == 1:
        red, green, blue = np.moveaxis(images.astype(np.uint32), 1, 0)
        return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16)[:, None].astype(np.uint8)
    return images


def _read_all(
    split: Split, prepare: Prepare, limit: int, progress: Progress
) -> tuple[np.ndarray, Fit, dict[int, str], Path | None]:
    """Decode and scale by threads, every picture into its row; damaged ones are returned by number."""
    n, (channels, height, width) = len(split), prepare.stored
    if channels == 3 and height * width > TINY:  # photographs lie as they are decoded, pixel by pixel
        pixels, file = _allocate((n, height, width, channels), limit)
        pixels = pixels.transpose(0, 3, 1, 2)
    else:
        pixels, file = _allocate((n, channels, height, width), limit)
    fit = Fit(np.ones((n, 2)), np.zeros((n, 2)), np.zeros((n, 2), dtype=np.int64), (height, width))

    def read(i: int) -> None:
        pixels[i], fit.scale[i], fit.offset[i], fit.original[i] = read_picture(split, i, prepare)

    try:
        damaged = each(n, read, fit.original, progress)
        if len(damaged) == n:
            raise NoneReadable(list(damaged.values()))
    except BaseException:
        _remove(file)
        raise
    return pixels, fit, damaged, file


def each(n: int, read: Callable[[int], None], sizes: np.ndarray, progress: Progress) -> dict[int, str]:
    """`read(i)` for every i below `n`, by threads; why, in order, for each where that is `BadData`.

    `read` notes the height and width of picture `i` in `sizes` (n, 2), which tells whether they are `TINY`.
    """
    damaged: dict[int, str] = {}

    def some(numbers: range) -> int:
        for i in numbers:
            try:
                read(i)
            except BadData as why:
                damaged[i] = str(why)
        return numbers.stop

    done = some(range(min(n, FIRST)))
    tiny = sizes[:done].prod(axis=1).max(initial=0) <= TINY
    threads = 1 if tiny else os.cpu_count() or 1
    size = min(CHUNK, ceil((n - done) / (4 * threads))) or 1
    with ThreadPoolExecutor(threads) as pool:
        try:
            progress(done, n)
            for stop in pool.map(some, [range(at, min(at + size, n)) for at in range(done, n, size)]):
                progress(stop, n)
        except BaseException:  # Ctrl-C: what waits in the queue is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return dict(sorted(damaged.items()))


def read_picture(split: Split, i: int, prepare: Prepare) -> Placed:
    """Picture `i` of a split as `to_pixels` gives it; `BadData` where it cannot be read."""
    return to_pixels(picture_of(split, i), prepare, split.name(i))


def seen(images: Any, i: int) -> Image.Image:
    """Picture `i` of a store, or of uint8 (N, C, H, W), as the network sees it before its window is cut."""
    pixels = images[i] if isinstance(images, Tensor) else images.batch(torch.tensor([i]))[0][0]
    array = np.ascontiguousarray(pixels.cpu().numpy().transpose(1, 2, 0))
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).convert("RGB")


def picture_of(split: Split, i: int) -> Picture:
    """Picture `i` as `to_pixels` takes it: encoded bytes, or an open picture of decoded ones."""
    if isinstance(split.images, np.ndarray):
        image = split.images[i]
        return Image.fromarray(
            image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        )
    file = split.images[i]
    return encoded(file) if file.box is None else file


def as_file(split: Split, i: int) -> tuple[str, bytes]:
    """Picture `i` as a file of its own: a name without folders, and a file's own bytes or a PNG's."""
    if isinstance(split.images, np.ndarray):
        return f"{i:06d}.png", ink.png(open_picture(picture_of(split, i)))
    file = split.images[i]
    return PurePosixPath(file.name.replace("\\", "/")).name, encoded(file)


def _close_ranks(images: Tensor, kept: np.ndarray) -> Tensor:
    """The rows `kept` (ascending) moved up in place; the rest is cut off. Never needs a second store."""
    for rows in np.array_split(np.stack([np.arange(len(kept)), kept]), -(-len(kept) // 1024), axis=1):
        images[rows[0][0] : rows[0][-1] + 1] = images[torch.from_numpy(rows[1])]
    return images[: len(kept)]


def _allocate(shape: tuple[int, ...], limit: int) -> tuple[np.ndarray, Path | None]:
    """Zeros in memory, or above `limit` bytes in a new temporary file, whose path comes too."""
    size = int(np.prod(shape, dtype=np.int64))
    if size <= limit:
        return np.zeros(shape, dtype=np.uint8), None
    folder = Path(tempfile.mkdtemp(prefix="striate-"))
    if size > shutil.disk_usage(folder).free:
        _remove(folder / "images")
        raise BadData(
            f"{size / 1e9:.1f} GB of pixels fit neither memory nor {folder.parent}: choose a smaller size, "
            "or let TMPDIR name a folder with more room"
        )
    return np.memmap(folder / "images", dtype=np.uint8, mode="w+", shape=shape), folder / "images"


def _remove(file: Path | None) -> None:
    if file is not None:
        shutil.rmtree(file.parent, ignore_errors=True)


def free_memory() -> int:
    """Bytes this process may still take: of the machine, or of the container that is smaller."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return 4 << 30  # a system that does not say: what every ordinary machine has
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(free, max(0, limit - used + int(stat["file"])))  # cached files make room when asked
    except (OSError, ValueError, KeyError):  # no container, or one without a limit ("max")
        return free
