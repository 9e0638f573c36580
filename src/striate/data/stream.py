"""Pictures that are not kept: decoded batch by batch, for sets larger than memory and disk.

A `Stream` answers as a `Store` does and holds no pixels but those of the batches under way. Threads decode
them (Pillow lets go of the interpreter while it decodes); batches that are announced by `ahead` are begun
while the network still learns the one before.

A picture is found to be damaged only when its turn comes. In training its place in the batch is taken by the
next readable one, so that batches keep their size and stay functions of the seed; in evaluation it is left
out. Either way it is named in `left_out`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from striate.data.augment import Warp
from striate.data.prepare import Fit, Prepare, to_window
from striate.data.reuse import Arrays
from striate.data.source import Split
from striate.data.store import (
    MakeTargets,
    Progress,
    Store,
    Target,
    as_tensors,
    decode,
    free_memory,
    picture_of,
    read_picture,
)
from striate.errors import BadData

PIECE = 4
"""Pictures that a thread takes at a time."""

SAMPLE = 512
"""Pictures, evenly spaced, that means and colours are measured on."""

LEAD = 2
"""Batches begun before they are asked for."""


@dataclass
class Stream:
    """N pictures on disk and the truth about them, ready to be batched."""

    split: Split
    prepare: Prepare
    make: MakeTargets = as_tensors
    """Raw targets and their `Fit` -> targets, as for `store.decode`."""
    fill: bool = False
    """Whether another picture takes a damaged one's place in its batch, or none does."""
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    lead: ClassVar[int] = LEAD

    @property
    def crops(self) -> bool:
        """Whether `batch` crops as it is told: then no pixel is scaled twice."""
        return self.prepare.fit == "crop" and not self.prepare.border

    def __post_init__(self) -> None:
        if not len(self.split):
            raise BadData("the split holds no pictures")
        self._memory = Arrays()
        self._damaged: dict[int, str] = {}
        self._waiting: dict[bytes, _Batch] = {}
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")

    def __len__(self) -> int:
        return len(self.split)

    @property
    def targets(self) -> Target:
        """The raw targets of the split; `batch` gives them as the task wants them."""
        return self.split.targets

    @property
    def names(self) -> list[str]:
        """What to call each picture in a message."""
        return [self.split.name(i) for i in range(len(self))]

    @property
    def left_out(self) -> list[str]:
        """One line for every damaged picture met so far: its name and why."""
        return [self._damaged[i] for i in sorted(self._damaged)]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that pictures may take at a time: an evaluation's batches under way."""
        return min(len(self), (LEAD + 1) * 256) * int(np.prod(self.prepare.stored))

    def ahead(self, indices: Tensor, drawn: Warp | None = None) -> None:
        """Begin to decode what `batch` will ask for with the same arguments."""
        key = _key(indices, drawn)
        if key not in self._waiting:
            while len(self._waiting) > LEAD:
                self._waiting.pop(next(iter(self._waiting))).cancel()
            drawn = drawn if self.crops and drawn is not None and drawn.box is not None else None
            self._waiting[key] = _Batch(
                self.split, self.prepare, indices.tolist(), drawn, self._pool, self._memory
            )

    def batch(self, indices: Tensor, drawn: Warp | None = None) -> tuple[Tensor, Target]:
        """int64 (B,) -> (uint8 (B, C, Hs, Ws), the targets of those pictures), fewer where not `fill`.

        With boxes `drawn` for them (on the CPU) it is what each box shows, mirrored as drawn, (B, C, H, W).

        Raises:
            BadData: the places of damaged pictures are to be filled, and not one can be read.
        """
        self.ahead(indices, drawn)
        work = self._waiting.pop(_key(indices, drawn))
        work.finish()
        self._damaged |= {work.rows[place]: why for place, why in work.damaged.items()}
        kept = [place for place in range(len(work.rows)) if place not in work.damaged]
        if work.damaged and self.fill:
            work.fill(kept)
        elif work.damaged:
            work.keep(kept)
        images = torch.from_numpy(work.pixels).permute(0, 3, 1, 2)
        return images, self.make(self.split.subset(work.rows).targets, work.fit)

    def sample(self) -> Tensor:
        """The pictures to measure means and colours on, uint8 (n, C, Hs, Ws): `SAMPLE`, evenly spaced."""
        n = min(len(self), SAMPLE)
        return self.batch(torch.arange(n) * len(self) // n)[0]

    def readable(self) -> "Stream":
        """The stream without the damaged pictures met so far."""
        if not self._damaged:
            return self
        kept = [i for i in range(len(self)) if i not in self._damaged]
        return Stream(self.split.subset(kept), self.prepare, self.make, self.fill, self.threads)

    def move(self, device: torch.device) -> None:
        """Nothing is kept that could lie on a device."""

    def close(self) -> None:
        """Stop decoding. The stream is of no use afterwards."""
        for batch in self._waiting.values():
            batch.cancel()
        self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Pictures = Store | Stream
"""Where batches come from."""


def _key(indices: Tensor, drawn: Warp | None) -> bytes:
    """What tells one batch from another."""
    key = indices.numpy().tobytes()
    if drawn is not None and drawn.box is not None:
        key += drawn.box.numpy().tobytes() + drawn.flip.numpy().tobytes()
    return key


class _Batch:
    """Some pictures being decoded, each into its place."""

    def __init__(
        self,
        split: Split,
        prepare: Prepare,
        rows: list[int],
        drawn: Warp | None,
        pool: ThreadPoolExecutor,
        memory: Arrays,
    ) -> None:
        n, (channels, height, width) = len(rows), prepare.input if drawn else prepare.stored
        self.split, self.prepare, self.rows = split, prepare, rows
        self.boxes = drawn.box.tolist() if drawn is not None and drawn.box is not None else None
        self.flips = drawn.flip.tolist() if drawn is not None else []
        # Channels last, as pictures are decoded: nothing is turned over.
        self.pixels = memory.take((n, height, width, channels), np.uint8)
        original, size = np.zeros((n, 2), dtype=np.int64), prepare.stored[1:]
        self.fit = Fit(np.ones((n, 2)), np.zeros((n, 2)), original, size)
        self.damaged: dict[int, str] = {}
        self.pieces: list[Future] = [pool.submit(self._read, start) for start in range(0, n, PIECE)]

    def _read(self, start: int) -> None:
        for place in range(start, min(start + PIECE, len(self.rows))):
            try:
                self._place(place)
            except BadData as why:
                self.damaged[place] = str(why)

    def _place(self, place: int) -> None:
        row = self.rows[place]
        if self.boxes is None:
            placed = read_picture(self.split, row, self.prepare)
        else:
            picture, name = picture_of(self.split, row), self.split.name(row)
            placed = to_window(picture, self.prepare, self.boxes[place], self.flips[place], name)
        self.pixels[place] = placed[0].transpose(1, 2, 0)
        self.fit.scale[place], self.fit.offset[place], self.fit.original[place] = placed[1:]

    def finish(self) -> None:
        """Wait until every picture is in its place or known to be damaged."""
        for piece in self.pieces:
            piece.result()

    def keep(self, readable: list[int]) -> None:
        """Leave out the damaged ones."""
        self.pixels, self.fit = self.pixels[readable], self.fit.subset(readable)
        self.rows = [self.rows[place] for place in readable]

    def fill(self, readable: list[int]) -> None:
        """Put the next readable picture, shown as was drawn for the place, where a damaged one should be."""
        if not readable:
            readable = [self._another()]
        for place in sorted(self.damaged):
            other = next((one for one in readable if one > place), readable[0])
            self.rows[place] = self.rows[other]
            self._place(place)

    def _another(self) -> int:
        """Put any picture of the split that can be read in the first place; returns that."""
        first = self.rows[0]
        for step in range(1, len(self.split)):
            self.rows[0] = (first + step) % len(self.split)
            try:
                self._place(0)
            except BadData:
                continue
            self.damaged.pop(0)
            return 0
        raise BadData(f"not one of {len(self.split)} pictures can be read; the first: {self.damaged[0]}")

    def cancel(self) -> None:
        """Do not begin what has not begun."""
        for piece in self.pieces:
            piece.cancel()


def fits(splits: Iterable[Split], prepare: Prepare, processes: int = 1) -> bool:
    """Whether the decoded pixels of all splits, for each of the `processes` of this machine, fit half of the
    free memory, or of the temporary folder."""
    size = sum(len(split) for split in splits) * int(np.prod(prepare.stored)) * processes
    return size <= free_memory() // 2 or size <= shutil.disk_usage(tempfile.gettempdir()).free // 2


def hold(
    split: Split,
    prepare: Prepare,
    targets: MakeTargets | None = None,
    stream: bool | None = None,
    fill: bool = False,
    processes: int = 1,
    progress: Progress | None = None,
) -> Pictures:
    """A split ready to be batched: decoded once, or streamed where `stream` says so or it `fits` nowhere.

    `fill` is what a stream does about damaged pictures; `processes` share the machine's cores and memory.
    `targets` and `progress` are as in `store.decode`.
    """
    if stream is None:
        stream = not fits([split], prepare)
    if not stream:
        return decode(split, prepare, targets, free_memory() // 2 // processes, progress)
    threads = max(1, (os.cpu_count() or 1) // processes)
    return Stream(split, prepare, targets or as_tensors, fill, threads)
