"""Which cells learn which thing: those that already say it best (Feng et al. 2021, "TOOD", section 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from striate.tasks.detect.boxes import pairwise

MOST = 10
"""Cells that learn one thing, at most."""

SHARPNESS = 6.0
"""The power of the overlap in how well a cell does; that of its score is 1."""


class Share(NamedTuple):
    """What each of A cells learns."""

    thing: Tensor
    """int64 (B, A): the place of its thing; 0 where it learns that there is none."""
    quality: Tensor
    """float32 (B, A): how sure it should be, 0 to 1; 0 where it learns that there is none."""


@torch.no_grad()
def assign(
    scores: Tensor, boxes: Tensor, cells: Tensor, truth: Tensor, labels: Tensor, real: Tensor
) -> Share:
    """Scores (B, A, classes) in 0..1, boxes (B, A, 4) and cells (A, 4) as in `Dense`, and the truth: boxes
    (B, G, 4), labels (B, G), and whether there is a thing at all, bool (B, G).

    Of the cells whose centre lies in a thing, those learn it whose score times overlap⁶ is largest; of
    several things a cell learns the one that its box overlaps most. The best cell of a thing should be as
    sure as its box is good, the others less, in proportion.
    """
    overlap = pairwise(truth, boxes)
    named = scores.transpose(1, 2).gather(1, labels.clamp(min=0)[..., None].expand(-1, -1, scores.shape[1]))
    fits = named * overlap**SHARPNESS * (within(truth, cells) & real[..., None])
    best = fits.topk(min(MOST, fits.shape[2]), dim=2)
    chosen = torch.zeros_like(fits).scatter_(2, best.indices, best.values) > 0
    rival = torch.where(chosen, overlap, -1.0)
    most, thing = rival.max(dim=1)
    chosen &= torch.arange(rival.shape[1], device=rival.device)[:, None] == thing[:, None]
    fits, overlap = fits * chosen, overlap * chosen
    level = overlap.amax(2) / fits.amax(2).clamp(min=1e-12)
    quality = (fits * level[..., None]).amax(1)
    return Share(torch.where(most >= 0, thing, 0), quality)


def within(boxes: Tensor, cells: Tensor) -> Tensor:
    """Boxes (B, G, 4), cells (A, 4) -> bool (B, G, A): the cell's centre lies in the box.

    A box narrower than a cell is taken to be as wide, so that there is always a centre in it.
    """
    middle, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = torch.maximum(half[:, :, None], cells[:, 2:] / 2 + 1e-3)
    return ((cells[:, :2] - middle[:, :, None]).abs() < reach).all(-1)
