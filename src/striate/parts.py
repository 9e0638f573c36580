"""Pictures that show several things, answered by a network that looks at one thing at a time.

A finder says where they are: a run of another application, whose answers have boxes. Every thing is cut out
as in training, the cuts of many pictures are answered in batches, and there comes one prediction a picture,
in its own pixels. So a network that knows the pose of one person answers for a street full of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from striate.data.inputs import Chunk, Given
from striate.data.picture import Picture, cut, open_picture
from striate.data.prepare import Fit, to_pixels
from striate.data.video import Video
from striate.errors import BadSetting
from striate.run import Run
from striate.task import Prediction


@runtime_checkable
class Found(Protocol):
    """What a finder says of a picture, as `tasks.detect.Detections` does; P things."""

    file: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    """(height, width)"""
    boxes: np.ndarray
    """(P, 4) x1, y1, x2, y2 in pixels of the picture."""
    scores: np.ndarray
    labels: np.ndarray
    """(P,): numbers of `classes`."""
    image: Picture


def in_parts(
    run: Run, finder: Run, inputs: Given | Iterable[Given] | Video, batch: int = 64
) -> Iterator[Prediction]:
    """One prediction per picture or frame of a film, about all things in it that `run` knows.

    Pictures that cannot be read are left out and named in `run.left_out`. `batch` is how many pictures the
    finder is shown at a time, and how many parts `run` is.

    Raises:
        BadSetting: `run` looks at whole pictures, the finder knows no class of its own, or finds no boxes.
    """
    wanted = _wanted(run, finder)
    if isinstance(inputs, Video):
        found = finder.frames(inputs, min(batch, 16))  # whole frames are held
    else:
        found = finder.stream(inputs, batch)
    return _joined(run, finder, found, wanted, batch)


def _wanted(run: Run, finder: Run) -> list[str]:
    """The classes that both know."""
    if run.task.part is None or run.task.join is None:
        raise BadSetting(f"{run.path}: {run.task.name} looks at whole pictures, not at people one by one.")
    mine, theirs = run.facts["classes"], finder.facts.get("classes", [])
    wanted = [name for name in mine if name in theirs]
    if not wanted:
        has = ", ".join(theirs[:12]) + (", ..." if len(theirs) > 12 else "")
        raise BadSetting(f"{finder.path}: does not find {', '.join(mine)}: it knows {has or 'no classes'}.")
    return wanted


def _joined(
    run: Run, finder: Run, found: Iterator[Prediction], wanted: Sequence[str], batch: int
) -> Iterator[Prediction]:
    join = run.task.join
    assert join is not None
    while some := list(islice(found, batch)):
        run.left_out = finder.left_out
        pictures = [_chosen(run, finder, one, wanted) for one in some]
        answers = _answers(run, pictures, batch)
        for one, boxes, scores in pictures:
            parts = list(islice(answers, len(boxes)))
            yield join(parts, boxes, scores, run.facts, file=one.file, size=one.size, image=one.image)
    run.left_out = finder.left_out


Chosen = tuple[Found, np.ndarray, np.ndarray]
"""A picture, and of the things in it that are wanted the boxes and scores."""


def _chosen(run: Run, finder: Run, one: Prediction, wanted: Sequence[str]) -> Chosen:
    if not isinstance(one, Found):
        raise BadSetting(
            f"{finder.path}: {finder.task.name} does not say where things are; {run.task.name} takes a run "
            "whose answers have boxes."
        )
    rows = [i for i, label in enumerate(one.labels.tolist()) if one.classes[label] in wanted]
    return one, one.boxes[rows], one.scores[rows]


def _answers(run: Run, pictures: Sequence[Chosen], batch: int) -> Iterator[Prediction]:
    """The answer about every part of every picture, in the pixels of the whole picture."""
    cuts = _cuts(run, pictures)
    while some := list(islice(cuts, batch)):
        pixels, scales, offsets, seen = zip(*some, strict=True)
        originals = np.array([one.size for one in seen])
        fit = Fit(np.array(scales), np.array(offsets), originals, run.prepare.stored[1:])
        images = torch.from_numpy(np.stack(pixels))
        yield from run.answered(Chunk(images, fit, [one.file for one in seen], [one.image for one in seen]))


Cut = tuple[np.ndarray, tuple[float, float], tuple[float, float], Found]
"""Pixels uint8 (C, H, W) as stored, scale and offset (x, y) of points of the whole picture, and that one."""


def _cuts(run: Run, pictures: Sequence[Chosen]) -> Iterator[Cut]:
    """Every part; a picture is opened once for all of its own."""
    part = run.task.part
    assert part is not None
    for one, boxes, _ in pictures:
        image = open_picture(one.image, one.file) if len(boxes) else None
        for box in boxes:
            assert image is not None
            x1, y1, x2, y2 = part(box)
            pixels, scale, (left, top), _ = to_pixels(cut(image, (x1, y1, x2, y2)), run.prepare, one.file)
            # A point of the whole picture lies x1, y1 further right and down than in the part.
            yield pixels, scale, (left - scale[0] * x1, top - scale[1] * y1), one
