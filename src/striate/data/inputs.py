"""Pictures to predict on: files, folders, globs, zips and open pictures, decoded a batch at a time."""

import glob
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.data import picture
from striate.data.picture import Picture
from striate.data.prepare import Fit, Prepare, to_pixels
from striate.data.readers.folders import hidden, is_picture
from striate.data.source import ImageFile, Split
from striate.data.store import NoneReadable, decode
from striate.errors import BadData

Given = str | Path | ImageFile | Image.Image | np.ndarray
"""A file, folder, glob or zip by name; an open picture; or uint8 pixels (H, W), (H, W, 3)."""


@dataclass(frozen=True)
class Chunk:
    """Some pictures, ready for `Run.answer`."""

    images: Tensor
    """uint8 (n, C, H, W) of `prepare.stored`."""
    fit: Fit
    names: list[str]
    pictures: list[Picture]
    """What to draw on: the file, or the open picture."""


def gather(inputs: Given | Iterable[Given]) -> list[ImageFile | Image.Image]:
    """Every picture that `inputs` names, folders and zips walked in order of name.

    Raises:
        BadData: a path that does not exist, a glob that matches nothing, a folder without pictures, or a
            damaged zip.
    """
    several = [inputs] if isinstance(inputs, Given) else list(inputs)
    return [found for one in several for found in _expand(one)]


def _expand(one: Given) -> Sequence[ImageFile | Image.Image]:
    if isinstance(one, Image.Image | ImageFile):
        return [one]
    if isinstance(one, np.ndarray):
        return [Image.fromarray(one)]
    path = Path(one).expanduser()
    if path.is_dir():
        files = (p for p in path.rglob("*") if is_picture(p.name) and not hidden(p.name) and p.is_file())
        found = [ImageFile(str(p), p) for p in sorted(files)]
    elif path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        try:
            names = picture.opened(path).namelist()
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as why:
            raise BadData(f"{one}: cannot be read as a zip: {why}; copy or fetch it again.") from why
        members = sorted(name for name in names if is_picture(name) and not name.startswith("__MACOSX"))
        found = [ImageFile(f"{path}/{member}", path, member) for member in members]
    elif path.is_file():
        found = [ImageFile(str(path), path)]
    else:
        found = [ImageFile(name, Path(name)) for name in sorted(glob.glob(str(path), recursive=True))]
        found = [f for f in found if f.path.is_file()]
        if not found:
            raise BadData(f"{one}: no such file or folder, and as a pattern it matches nothing.")
    if not found:
        raise BadData(f"{one}: holds no pictures (files ending in .jpg, .png, .webp, ...).")
    return found


def decoded(
    pictures: list[ImageFile | Image.Image], prepare: Prepare, batch: int, left_out: list[str]
) -> Iterator[Chunk]:
    """The pictures in batches, in their order; a line about each that cannot be read goes to `left_out`."""
    for start in range(0, len(pictures), batch):
        for _, group in groupby(enumerate(pictures[start : start + batch], start + 1), _is_file):
            some = list(group)
            files = [p for _, p in some if isinstance(p, ImageFile)]
            images = [p for _, p in some if isinstance(p, Image.Image)]
            if files:
                yield from _read(files, prepare, left_out)
            else:
                named = [getattr(image, "filename", "") or f"picture {number}" for number, image in some]
                yield opened(images, prepare, named)


def _is_file(numbered: tuple[int, ImageFile | Image.Image]) -> bool:
    return isinstance(numbered[1], ImageFile)


def _read(files: list[ImageFile], prepare: Prepare, left_out: list[str]) -> Iterator[Chunk]:
    rows = np.arange(len(files))
    try:
        store = decode(
            Split(files, {"row": rows}), prepare, lambda raw, _: {"row": torch.as_tensor(raw["row"])}
        )
    except NoneReadable as error:  # the next batch may do better
        left_out += error.why
        return
    left_out += store.left_out
    kept = store.targets["row"].tolist()
    yield Chunk(store.images, store.fit, store.names, [files[i] for i in kept])


def opened(images: list[Image.Image], prepare: Prepare, names: list[str]) -> Chunk:
    """Open pictures as a batch."""
    placed = [to_pixels(image, prepare, name) for image, name in zip(images, names, strict=True)]
    pixels, scales, offsets, originals = zip(*placed, strict=True)
    fit = Fit(np.array(scales), np.array(offsets), np.array(originals), prepare.stored[1:])
    return Chunk(torch.from_numpy(np.stack(pixels)), fit, names, list(images))
