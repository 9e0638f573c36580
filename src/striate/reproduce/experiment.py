"""What a published experiment is made of: trainings, the number each ended with, and votes of them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    name: str
    """As the source calls it."""
    published: float | None
    """In per cent, in the experiment's figure; None where the source gives no number."""
    net: str
    data: str
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipe, at full length."""
    quick: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipe that the scaled-down run has otherwise."""
    recipe: str = "fast"
    size: int | None = None
    seeds: int = 1
    """How many trainings from different random starts vote, each with one voice."""


@dataclass(frozen=True)
class Experiment:
    """A table of the literature."""

    title: str
    source: str
    figure: str
    """"accuracy" or "error", in per cent."""
    lines: tuple[Line, ...]
    scaled: str
    """What `--quick` leaves out, in words."""
    differs: str
    """What is otherwise done than in the source, at full length too."""
