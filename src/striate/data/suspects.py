"""Labels that do not fit their pictures, found by a quick classifier that never sees the label it judges.

The features are oriented edges as simple cells of the visual cortex report them (Hubel, Wiesel 1959), pooled,
beside coarse pixels; the classifier is ridge regression to the classes, whose leave-one-out answers have a
closed form: (s - h y) / (1 - h), with h the picture's own leverage. A label is doubted only where that
classifier and the picture's ten nearest neighbours agree on another class, and only on data that the
classifier reads well: on photographs that take a real network, it says so and names nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SURE = 0.97
"""Probability of another class from which a label is doubted."""

NEIGHBOURS, AGREEING = 10, 9

READABLE = 0.65
"""Agreement with the labels above chance (Cohen's kappa) from which the classifier may doubt single ones."""

SAMPLE = 5000
"""Pictures of a split that are enough to see its labels shifted or exchanged as a whole."""

RIDGE = 1e-2


@dataclass(frozen=True)
class Doubt:
    """One picture whose label looks wrong."""

    row: int
    looks_like: int
    """Number of the class."""
    confidence: float


@dataclass(frozen=True)
class Scores:
    """What the classifier says of N pictures, none of which it learned from."""

    said: Tensor
    """int64 (N,)."""
    probability: Tensor
    """float32 (N, K)."""
    kappa: float
    """Agreement with the given labels: 0 is chance, 1 is full."""


def features(thumbs: Tensor) -> Tensor:
    """uint8 (N, C, 32, 32) -> float32 (N, D)."""
    return torch.cat([_features(some) for some in thumbs.split(1024)])


def _features(thumbs: Tensor) -> Tensor:
    images = thumbs.float() / 255
    grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    edges = F.avg_pool2d(F.conv2d(grey, _simple_cells()).relu_(), 4)
    edges = F.normalize(F.avg_pool2d(edges, 2, stride=1).sqrt().flatten(1), dim=1)
    colour = images.shape[1] == 3
    pixels = F.avg_pool2d(images, 8 if colour else 4).flatten(1)
    pixels = F.normalize(pixels - pixels.mean(1, keepdim=True), dim=1)
    whole = [images.mean((2, 3)), images.std((2, 3))] if colour else []
    return torch.cat([edges, 0.5 * torch.cat([pixels, *whole], 1)], 1)


def _simple_cells(orientations: int = 8) -> Tensor:
    """(8, 1, 3, 3): Sobel's filter turned to eight directions."""
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    angles = torch.arange(orientations) * (2 * torch.pi / orientations)
    return (angles.cos()[:, None, None] * across + angles.sin()[:, None, None] * across.T)[:, None]


def leave_one_out(rows: Tensor, labels: Tensor, classes: int) -> Scores:
    """Every picture (N, D) judged by a classifier of all the others."""
    rows = _with_bias(rows)
    truth = F.one_hot(labels, classes).float()
    hat = rows @ _inverse(rows)
    leverage = (hat * rows).sum(1, keepdim=True).clamp(max=0.99)
    answers = (hat @ (rows.T @ truth) - leverage * truth) / (1 - leverage)
    return _scores(answers, labels)


def judge(known: Tensor, labels: Tensor, rows: Tensor, classes: int) -> Tensor:
    """int64 (M,): what a classifier of the pictures `known` (N, D) says of `rows` (M, D)."""
    known = _with_bias(known)
    weights = _inverse(known) @ (known.T @ F.one_hot(labels, classes).float())
    return (_with_bias(rows) @ weights).argmax(1)


def _with_bias(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones(len(rows), 1)], 1)


def _inverse(rows: Tensor) -> Tensor:
    """(XᵀX + λI)⁻¹ as float32 (D, D)."""
    gram = (rows.T @ rows).double()
    return torch.linalg.inv(gram + RIDGE * len(rows) / len(gram) * torch.eye(len(gram))).float()


def _scores(answers: Tensor, labels: Tensor) -> Scores:
    """Regression's answers as probabilities: softmax, as sharp as makes the labels likeliest."""
    sharpness = (1, 2, 4, 6, 8, 12, 16, 24)
    best = min(sharpness, key=lambda s: float(F.cross_entropy(answers * s, labels)))
    said = answers.argmax(1)
    share = torch.bincount(labels, minlength=answers.shape[1]) / len(labels)
    chance = float((share * torch.bincount(said, minlength=answers.shape[1]) / len(said)).sum())
    agreement = float((said == labels).float().mean())
    kappa = (agreement - chance) / max(1 - chance, 1e-9)
    return Scores(said, (answers * best).softmax(1), kappa)


def doubted(rows: Tensor, labels: Tensor, scores: Scores, most: int = 1000) -> list[Doubt]:
    """The labels that both the classifier and the nearest neighbours contradict, the surest first."""
    confidence, said = scores.probability.max(1)
    here = ((confidence > SURE) & (said != labels)).nonzero()[:, 0]
    here = here[confidence[here].argsort(descending=True, stable=True)][:most]
    if not len(here) or len(rows) <= NEIGHBOURS:
        return []
    units = F.normalize(rows, dim=1)
    alike = units[here] @ units.T
    alike[torch.arange(len(here)), here] = -1
    near = labels[alike.topk(NEIGHBOURS, dim=1).indices]
    others = (near == said[here][:, None]).sum(1) >= AGREEING
    same = (near == labels[here][:, None]).sum(1) <= NEIGHBOURS - AGREEING
    return [
        Doubt(row, int(said[row]), round(float(confidence[row]), 4)) for row in here[others & same].tolist()
    ]


def shifted(rows: Tensor, labels: Tensor, classes: int) -> tuple[int, float, float] | None:
    """By how many places the labels lie beside their pictures: (places, agreement as given, agreement moved).

    1 means that picture i has the label of picture i - 1. None where the labels fit best as they are.
    `rows` (N, D) are all of a split in its order.
    """
    n = len(rows)
    some = torch.arange(n)[torch.linspace(0, n - 1, min(n, SAMPLE)).long()]

    def agreement(places: int) -> float:
        moved = labels.roll(-places)[some]
        return float((leave_one_out(rows[some], moved, classes).said == moved).float().mean())

    given = agreement(0)
    best, places = max((agreement(places), places) for places in (-1, 1))
    return (places, given, best) if _beyond_chance(given * len(some), best * len(some), len(some)) else None


def exchanged(given: Tensor, said: Tensor, classes: int) -> list[tuple[int, ...]]:
    """Cycles of classes whose labels changed places: (3, 8) means that pictures given 3 look like 8 and back.

    `said` is the word of a classifier that learned from another split.
    """
    counts = torch.zeros(classes, classes).index_put_((given, said), torch.ones(len(given)), accumulate=True)
    looks_like, cycles = counts.argmax(1).tolist(), []
    for start in range(classes):
        cycle = [start]
        while (after := looks_like[cycle[-1]]) not in cycle:
            cycle.append(after)
        if after != start or len(cycle) < 2 or start != min(cycle):
            continue
        as_given = float(counts[cycle, cycle].sum())
        as_cycle = float(counts[cycle, cycle[1:] + cycle[:1]].sum())
        if _beyond_chance(as_given, as_cycle, float(counts[cycle].sum())):
            cycles.append(tuple(cycle))
    return cycles


def _beyond_chance(before: float, after: float, n: float) -> bool:
    """Whether agreement rose, of n, by a third and by six standard deviations of a fair coin's count."""
    return after - before > max(n / 3, 3 * n**0.5)
