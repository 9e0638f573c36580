"""`striate evaluate RUN... --data DATA`."""

import sys
from json import dumps
from pathlib import Path
from typing import Any

import typer

from striate.cli.results import percent, print_differences, print_json, table
from striate.errors import BadSetting, one_of
from striate.task import PERCENT


def evaluate(
    runs: list[str] = typer.Argument(..., metavar="RUN...", help="The run folder; several vote."),
    data: str = typer.Option(None, help="A named set or a path.", show_default="the run's own data"),
    split: str = typer.Option(None, help="train, val or test.", show_default="test, else val, else all"),
    tta: bool = typer.Option(None, "--tta/--no-tta", help="Average each picture with its mirror image."),
    views: int = typer.Option(None, help="Average crops of each picture: 1, 2, 5, 6, 10 or 144."),
    scales: str = typer.Option(None, help="Average over lengths of the shorter side: 256,384,512."),
    dense: bool = typer.Option(False, "--dense", help="Run over whole pictures, convolutionally."),
    refine: bool = typer.Option(False, "--refine", help="Follow the pictures' outlines (segment)."),
    results: Path = typer.Option(
        None, help="Write every answer to this file, as COCO has them (detect, pose)."
    ),
    explain: Path = typer.Option(
        None,
        help="Another tool's answers, as COCO has them: why their figures differ (detect, pose).",
    ),
    reported: float = typer.Option(None, help="With --explain: a figure published of theirs, such as 0.372."),
    vote: str = typer.Option("mean", help="How several runs agree: mean (of the softmax) or plurality."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Measure a trained model, or several that vote, on a data set.

    The application's figures, each class, the confusions.
    """
    how: dict[str, Any] = {"tta": tta, "views": views, "scales": _scales(scales), "dense": dense}
    from striate.run import evaluate_together, load
    from striate.tasks.classify.views import VOTES

    one_of("vote", vote, VOTES)
    opened = [load(run) for run in runs]
    if refine and len(runs) > 1:
        raise BadSetting("--refine takes one run: those that vote classify.")
    plain = len(runs) == 1 and not (refine or tta or views or scales or dense)
    if results is not None and not plain:
        raise BadSetting("--results FILE takes one run and its plain answers.")
    if explain is not None or reported is not None:
        if explain is None or results is not None or not plain:
            raise BadSetting("--explain FILE takes one run and its plain answers; --reported goes with it.")
        _explain(opened[0], explain, data, split, reported, json)
        return
    if results is not None:
        figures, answers = opened[0].results(data, split)
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(dumps(answers), encoding="utf-8")
        print(f"{results}: {len(answers):,} answers", file=sys.stderr)
    elif len(opened) == 1:
        figures = opened[0].evaluate(data, split, refine=refine, **how)
    else:
        figures = evaluate_together(opened, data, split, vote, **how)
    left_out = opened[0].left_out
    if left_out:
        print(f"warning: left out {len(left_out)} unreadable: {left_out[0]}", file=sys.stderr)
    how |= {"vote": vote} if len(runs) > 1 else {"refine": refine}
    asked = {key: value for key, value in how.items() if value}
    if json:
        print_json({"run": runs[0] if len(runs) == 1 else runs, **asked, **figures})
        return
    ways = "".join(f", {key} {value}" if value is not True else f", {key}" for key, value in asked.items())
    print(f"{figures['split']} split of {data or opened[0].info['data']['source']}{ways}")
    for run, figure in zip(runs, figures.get("each", []), strict=False):
        print(f"{run:30} {percent(figure)}")
    _print(figures)


def _scales(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()] if text else []
    except ValueError:
        raise BadSetting(f"--scales {text}: write whole numbers with commas, such as 256,384.") from None


def _print(figures: dict) -> None:
    """The headline figures, then a row for every class."""
    plain = {k: v for k, v in figures.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    for key, value in plain.items():
        shown = percent(value) if key in PERCENT else f"{value:,.4g}"
        print(f"{key.replace('_', ' '):18} {shown}")
    classes = figures.get("per_class", {})
    if not classes:
        return
    columns = list(next(iter(classes.values())))
    table(["class", *columns], [[name, *map(_cell, row.values())] for name, row in classes.items()])
    _print_confusions(figures, list(classes))


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _print_confusions(figures: dict, names: list[str], most: int = 5) -> None:
    """The class pairs that are mistaken most often."""
    pairs = [
        (count, names[i], names[j])
        for i, row in enumerate(figures.get("confusion", [])[: len(names)])
        for j, count in enumerate(row[: len(names)])
        if i != j and count
    ]
    if pairs:
        worst = sorted(pairs, reverse=True)[:most]
        print("most often mistaken: " + ", ".join(f"{a} for {b} ({count:,})" for count, b, a in worst))


def _explain(run: Any, theirs: Path, data: str | None, split: str | None, reported: Any, json: bool) -> None:
    """Why their figures differ: the causes, the pictures, the rules."""
    from striate.differences import explain

    found = explain(run, theirs, data, split, reported)
    if run.left_out:
        print(f"warning: left out {len(run.left_out)} unreadable: {run.left_out[0]}", file=sys.stderr)
    if json:
        print_json({"run": str(run.path), **found})
    else:
        print_differences(found, f"{found['split']} split of {data or run.info['data']['source']}", theirs)
