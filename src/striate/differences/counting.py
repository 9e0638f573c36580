"""Average precision of many versions of one evaluation, quickly: no picture is matched twice.

A version is the same pictures with other answers, or other truth, in some of them. Whoever makes one hands on
the very objects that did not change, so that what is known of them is found again.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from striate.precision import OVERLAPS, SIZES, AveragePrecision, Found, Matches, Truth, interpolated

Pictures = Sequence[tuple[Truth, Found]]
PictureMatches = dict[int, Matches]


class Ranking:
    """The answers of all pictures, matched, in one row for each class; those of one picture can be exchanged.

    Only classes with something to find in the truth are counted.
    """

    def __init__(self, matched: list[PictureMatches], size: str = "all") -> None:
        self.matched, self.size = matched, list(SIZES).index(size)
        rows: dict[int, list[tuple[int, Matches]]] = defaultdict(list)
        for picture, classes in enumerate(matched):
            for k, match in classes.items():
                rows[k].append((picture, match))
        self.things = {k: sum(int(match[3][self.size]) for _, match in row) for k, row in rows.items()}
        self.rows = {k: self._row(row) for k, row in rows.items() if self.things[k]}
        self.found = {k: self._precision(k, *row[1:]) for k, row in self.rows.items()}

    @property
    def precision(self) -> np.ndarray:
        """(overlaps,): the mean over classes and recalls; nan where there is nothing to find."""
        return _mean(self.found)

    def exchanged(self, picture: int, other: PictureMatches) -> float:
        """The `map` with other answers for one picture."""
        found = dict(self.found)
        for k, (places, *row) in self.rows.items():
            before, after = self.matched[picture].get(k), other.get(k)
            if after is None and before is None or _same(before, after):
                continue
            start, end = np.searchsorted(places, [picture, picture + 1])
            new = self._parts(after) if after is not None else [part[..., :0] for part in row]
            parts = [
                np.concatenate([old[..., :start], part, old[..., end:]], axis=-1)
                for old, part in zip(row, new, strict=True)
            ]
            found[k] = self._precision(k, *parts)
        return float(_mean(found).mean())

    def _row(self, row: list[tuple[int, Matches]]) -> list[np.ndarray]:
        """The picture of every answer (N,), then scores (N,), hit and ignored (overlaps, N)."""
        places = np.repeat([picture for picture, _ in row], [len(match[0]) for _, match in row])
        parts = zip(*(self._parts(match) for _, match in row), strict=True)
        return [places, *(np.concatenate(part, axis=-1) for part in parts)]

    def _parts(self, match: Matches) -> list[np.ndarray]:
        return [match[0], match[1][self.size], match[2][self.size]]

    def _precision(self, k: int, scores: np.ndarray, hit: np.ndarray, ignored: np.ndarray) -> np.ndarray:
        """(overlaps,): of class `k`, the mean over recalls."""
        order = np.argsort(-scores, kind="stable")
        return interpolated(hit[:, order], ignored[:, order], self.things[k])[0].mean(1)


class Counter:
    """Counts versions by the rules of an `AveragePrecision`, and remembers every picture that it matched."""

    def __init__(self, rules: AveragePrecision) -> None:
        self.rules = rules
        self._known: dict[tuple[int, int], tuple[Truth, Found, PictureMatches]] = {}
        """The objects are kept with their matches: the number of a forgotten one would be given again."""

    def matched(self, truth: Truth, found: Found) -> PictureMatches:
        """The answers of one picture."""
        key = id(truth), id(found)
        if key not in self._known:
            self._known[key] = truth, found, self.rules.matches(truth, found)
        return self._known[key][2]

    def ranking(self, pictures: Pictures, size: str = "all") -> Ranking:
        """All of a version's answers."""
        return Ranking([self.matched(*one) for one in pictures], size)

    def map(self, pictures: Pictures, size: str = "all") -> float:
        """COCO's headline figure; nan where there is nothing to find."""
        return float(self.ranking(pictures, size).precision.mean())


def _mean(found: dict[int, np.ndarray]) -> np.ndarray:
    return np.mean(list(found.values()), axis=0) if found else np.full(len(OVERLAPS), np.nan)


def _same(one: Matches | None, other: Matches | None) -> bool:
    return (
        one is not None
        and other is not None
        and all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
    )
