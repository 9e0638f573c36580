"""Runs an experiment row by row: each training is a run folder, so what is finished is not done again."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from striate.data.findings import counted
from striate.errors import BadRun, BadSetting
from striate.models import MODELS
from striate.reproduce.experiment import Experiment, Line
from striate.run import Run, evaluate_together, load
from striate.verbs import train

Row = dict[str, Any]
"""`{"name", "published", "ours", "seeds", "epochs", "seconds"}`: figures in per cent, seconds of training."""


def rows(
    experiment: Experiment,
    folder: Path,
    *,
    quick: bool = False,
    changes: dict[str, Any] | None = None,
    seed: int = 0,
    only: str | None = None,
    download: bool = False,
    progress: bool = True,
    say: Callable[[str], Any] = print,
) -> Iterator[Row]:
    """Train what is not yet trained in `folder`, and yield the table row by row.

    `only` takes the lines whose name contains it; `changes` are fields of every line's recipe.
    A training that was killed goes on from its checkpoint.

    Raises:
        BadSetting: no line has `only` in its name, or a recipe has no such field.
    """
    wanted = [line for line in experiment.lines if (only or "").lower() in line.name.lower()]
    if not wanted:
        names = "; ".join(line.name for line in experiment.lines)
        raise BadSetting(f"--only {only}: no row has that in its name. There are: {names}.")
    for line in wanted:
        say(f"{line.name}: {counted(line.seeds, 'training')}")
        recipe = line.changes | (line.quick if quick else {}) | (changes or {})
        seeds = range(seed, seed + line.seeds)
        runs = [_trained(line, folder, recipe, number, download, progress) for number in seeds]
        yield _row(experiment, line, runs, seeds)


def _trained(
    line: Line, folder: Path, changes: dict[str, Any], seed: int, download: bool, progress: bool
) -> Run:
    """The run of one line and seed; votes find the run of the line that trained the same network."""
    place = folder / _name(line, changes, seed)
    try:
        return load(place)
    except BadRun:  # not there, or not finished: a damaged one is reported by train
        return train(
            "classify",
            data=line.data,
            net=line.net,
            recipe=line.recipe,
            changes=changes,
            size=line.size,
            seed=seed,
            out=place,
            resume=place.exists(),
            download=download,
            progress=progress,
        )


def _name(line: Line, changes: dict[str, Any], seed: int) -> str:
    """The run folder of one training: two that differ in anything have two."""
    # Steps give the same weights replayed or not.
    learned = sorted((key, value) for key, value in changes.items() if key != "cuda_graph")
    told: tuple[Any, ...] = (line.net, line.size, learned)
    if line.recipe != "fast":  # which goes without saying: so folders of old are found again
        told += (line.recipe,)
    digest = hashlib.blake2b(repr(told).encode(), digest_size=4).hexdigest()
    named = line.net if line.net in MODELS else "design"
    return f"{Path(line.data).stem}-{named}-{digest}-seed{seed}"


def _row(experiment: Experiment, line: Line, runs: list[Run], seeds: range) -> Row:
    figures = [run.figures for run in runs]
    accuracy = figures[0]["accuracy"]
    if len(runs) > 1:
        accuracy = evaluate_together(runs, vote="plurality")["accuracy"]
    ours = 100 * (1 - accuracy if experiment.figure == "error" else accuracy)
    return {
        "name": line.name,
        "published": line.published,
        "ours": round(ours, 2),
        "seeds": list(seeds),
        "epochs": figures[0]["epochs"],
        "seconds": round(sum(f["seconds"] for f in figures), 1),
    }
