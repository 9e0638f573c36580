"""Why two figures of one run differ: another tool's answers against ours, on the same truth.

Ours is walked to theirs cause by cause, the pictures to blame are named, and their answers are counted by the
rules of other tools to find the one that a reported figure was counted by.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.findings import counted
from striate.differences.answers import Answers, kind_of, read, understand
from striate.differences.blame import LOOKED_AT, blame
from striate.differences.counting import Counter
from striate.differences.rules import nearest, rules
from striate.differences.walk import OTHERS, as_written, nothing, steps
from striate.errors import BadData, BadSetting, one_of
from striate.precision import AveragePrecision
from striate.run import Run, final_split


def explain(
    run: Run,
    theirs: str | Path,
    data: str | Path | None = None,
    split: str | None = None,
    reported: float | None = None,
) -> dict[str, Any]:
    """Where the figures of `run` and of a result file part, on a split chosen as by `Run.evaluate`.

    `reported` is a figure that was published of theirs, from 0 to 1. What comes back is that of `compare`,
    and the split.

    Raises:
        BadSetting: an application whose answers have no average precision, or no such figure.
        BadData: the file, or the data, cannot be used.
    """
    metric: Any = run.task.metric(run.facts)
    if not hasattr(metric, "precision"):
        raise BadSetting(f"explain: the answers of {run.task.name} are not counted by average precision.")
    if reported is not None and not 0 <= reported <= 1:
        raise BadSetting(f"reported {reported:g}: write the figure as a share from 0 to 1, such as 0.372.")
    entries = read(theirs)
    source = run.source(data)
    split = split or final_split(source)
    pictures = source.splits[one_of("split", split, source.splits)]
    names = {int(number): pictures.name(i) for i, number in enumerate(pictures.targets["image_id"])}
    metric.update(*run.answers(source, split))
    found = compare(metric.precision, entries, source.class_numbers, names, reported, theirs)
    return {"split": split, **found}


def compare(
    ours: AveragePrecision,
    entries: Sequence[dict[str, Any]],
    numbers: Sequence[int],
    names: dict[int, str],
    reported: float | None = None,
    file: str | Path = "theirs",
) -> dict[str, Any]:
    """Our answers with the truth, every picture of which has its `image_id`, and entries of a result file.

    Returns:
        kind ("box", "mask" or "joints"); ours and theirs, {map, map50}; difference; causes, [{cause, change,
        share, pictures}], whose changes add up to the difference; blame, [{image_id, file, change, why}], of
        blame_for; blame_tried, the pictures exchanged; rules, {rule: figure}; and with `reported`, that and
        nearest, the rules whose figures come nearest.
    """
    kind, joints = kind_of(entries, ours.kind), len(ours.sigmas)
    counter = Counter(AveragePrecision(ours.classes, kind, ours.sigmas))
    truth = [true for true, _ in ours.pictures]
    said = [as_written(found, kind) for _, found in ours.pictures]
    ids = [int(true["image_id"]) for true in truth]
    known = {number: names.get(number, f"#{number}") for number in ids}
    masks = [(*(true.get("masks") or ()), *(found.get("masks") or ())) for true, found in ours.pictures]
    sizes = {number: some[0]["size"] for number, some in zip(ids, masks, strict=True) if some}
    fits = joints, sizes if kind == "mask" else None, file
    answers = understand(entries, kind, numbers, known, *fits)
    theirs = [answers.pictures.get(number) or nothing(kind, joints) for number in ids]
    start = counter.ranking(list(zip(truth, said, strict=True))).precision
    if not np.isfinite(start).all():
        raise BadData("the pictures of this split hold nothing to be found: there are no figures to compare.")
    end = counter.ranking(list(zip(truth, theirs, strict=True))).precision
    result: dict[str, Any] = {"kind": kind, "images": len(truth)}
    result |= {"ours": _headline(start), "theirs": _headline(end)}
    result["difference"] = float(end.mean() - start.mean())
    walked = steps(said, theirs, kind)
    figures = [float(start.mean())]
    figures += [counter.map(list(zip(truth, step.found, strict=True))) for step in walked]
    causes = [
        _cause(step.cause, after - before, result["difference"], step.pictures)
        for step, before, after in zip(walked, figures, figures[1:], strict=False)
        if step.pictures or after != before
    ]
    result["causes"] = causes + _left_out(answers)
    states = [said, *(step.found for step in walked)]
    rest = next((place for place, step in enumerate(walked) if step.cause == OTHERS), None)
    before = said if rest is None else states[rest]  # nothing left unexplained: those of all the causes
    worst, tried = blame(counter, truth, before, theirs, [known[number] for number in ids])
    result |= {"blame_for": "all causes" if rest is None else OTHERS, "blame": worst, "blame_tried": tried}
    result["rules"] = rules(counter, truth, theirs, answers)
    result["rules"] |= _shifted(counter, truth, entries, numbers, known, fits, answers)
    if reported is not None:
        result |= {"reported": reported, "nearest": nearest(result["rules"], reported)}
    return result


def _headline(precision: np.ndarray) -> dict[str, float]:
    return {"map": float(precision.mean()), "map50": float(precision[0])}


def _cause(cause: str, change: float, whole: float, pictures: int) -> dict[str, Any]:
    share = change / whole if abs(whole) > 1e-12 else None
    return {"cause": cause, "change": change, "share": share, "pictures": pictures}


def _left_out(answers: Answers) -> list[dict[str, Any]]:
    """What cannot be counted here: it changes neither figure, but may have changed another tool's."""
    found = []
    if answers.outside:
        many = sum(len(one["labels"]) for one in answers.outside.values())
        cause = f"{counted(many, 'answer')} for pictures that are not in this split, left out"
        found.append({"cause": cause, "change": 0.0, "share": 0.0, "pictures": len(answers.outside)})
    if answers.strange:
        cause = f"{counted(answers.strange, 'answer')} of classes that the data does not have, left out"
        found.append({"cause": cause, "change": 0.0, "share": 0.0, "pictures": 0})
    return found


def _shifted(
    counter: Counter,
    truth: list[dict[str, Any]],
    entries: Sequence[dict[str, Any]],
    numbers: Sequence[int],
    known: dict[int, str],
    fits: tuple[Any, ...],
    answers: Answers,
) -> dict[str, float]:
    """Where classes are unknown and all of theirs could be places in the list: the figure if they are."""
    found, classes = {}, len(counter.rules.classes)
    for first in (0, 1) if answers.strange else ():
        places = list(range(first, first + classes))
        if places != list(numbers) and {entry["category_id"] for entry in entries} <= set(places):
            read_so = understand(entries, counter.rules.kind, places, known, *fits).pictures
            empty = nothing(counter.rules.kind, fits[0])
            said = [read_so.get(int(true["image_id"])) or empty for true in truth]
            found[f"classes numbered from {first} in order"] = counter.map(
                list(zip(truth, said, strict=True))
            )
    return found


__all__ = ["LOOKED_AT", "compare", "explain"]
