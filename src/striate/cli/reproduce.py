"""`striate reproduce EXPERIMENT`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Any

import typer

from striate.cli.results import print_json, table
from striate.errors import BadSetting, one_of


def reproduce(
    experiment: str = typer.Argument(None, help="Which one; without it they are listed."),
    quick: bool = typer.Option(False, "--quick", help="A scaled-down run; what was scaled is printed."),
    only: str = typer.Option(None, help="Only the rows whose name contains this."),
    seed: int = typer.Option(0, help="Of the first training; a vote takes those that follow."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="A field of every row's recipe."),
    out: str = typer.Option(None, help="Where the runs go.", show_default="runs/reproduce-EXPERIMENT"),
    download: bool = typer.Option(False, "--download", help="Fetch a named set that is not here."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """A published result: the paper's number beside ours.

    Trainings that are finished in the output folder are not done again, so a run that was stopped goes on.
    """
    from striate.data.findings import counted
    from striate.reproduce import EXPERIMENTS
    from striate.reproduce.runner import rows
    from striate.training.recipes import assignments

    if experiment is None:
        if only or set_ or quick:
            raise BadSetting(f"reproduce: say which experiment: {', '.join(EXPERIMENTS)}.")
        for name, one in EXPERIMENTS.items():
            print(f"{name:14} {one.title} ({counted(len(one.lines), 'row')})")
        return
    chosen = EXPERIMENTS[one_of("experiment", experiment, EXPERIMENTS)]
    folder = Path(out or f"runs/reproduce-{experiment}{'-quick' if quick else ''}")
    say = lambda text: print(text, file=sys.stderr)  # noqa: E731
    say(f"{chosen.title}\n{chosen.source}\nunlike there: {chosen.differs}")
    if quick:
        say(f"scaled down: {chosen.scaled}")
    if set_:
        say(f"changed: {', '.join(set_)}")
    done: list[dict[str, Any]] = []
    found = {
        "experiment": experiment,
        "quick": quick,
        "changed": set_,
        "figure": chosen.figure,
        "rows": done,
    }
    for row in rows(
        chosen,
        folder,
        quick=quick,
        changes=assignments(set_),
        seed=seed,
        only=only,
        download=download,
        say=say,
    ):
        done.append(row)
        _keep(folder / "results.json", found)
    if json:
        print_json(found)
        return
    _print(done, chosen.figure)


def _keep(path: Path, found: dict[str, Any]) -> None:
    """Put the rows into the table at `path`: each in the place of its like, beside all others."""
    from striate.training.checkpoint import write_text

    try:
        known = jsonlib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # there is none, or writing it was cut short
        known = {}
    earlier = known["rows"] if known.get("experiment") == found["experiment"] else []
    rows = {}
    for source, listed in ((known, earlier), (found, found["rows"])):
        for row in listed:
            row = {"quick": source.get("quick", False), "changed": source.get("changed", [])} | row
            rows[row["name"], *row["seeds"], row["quick"], *row["changed"]] = row
    whole = {"experiment": found["experiment"], "figure": found["figure"], "rows": list(rows.values())}
    write_text(path, jsonlib.dumps(whole, indent=1))


def _print(rows: list[dict[str, Any]], figure: str) -> None:
    header = ["", f"published {figure} %", f"ours {figure} %", "seeds", "epochs", "seconds"]
    cells = [
        [
            row["name"],
            "–" if row["published"] is None else f"{row['published']:.2f}",
            f"{row['ours']:.2f}",
            ", ".join(map(str, row["seeds"])),
            str(row["epochs"]),
            f"{row['seconds']:,.0f}",
        ]
        for row in rows
    ]
    table(header, cells)
