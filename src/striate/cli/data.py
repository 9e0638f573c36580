"""`striate data DATA`: the doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from striate.cli.results import print_json

if TYPE_CHECKING:
    from striate.data.doctor import Examination


def data(
    data: str = typer.Argument(
        ..., help="A named set (mnist, digits, ...) or a path: folders, zip, CSV, ..."
    ),
    quick: bool = typer.Option(False, "--quick", help="Leave out the doubts about labels."),
    fix: Path = typer.Option(None, metavar="OUT", help="Write a mended copy as class folders to OUT."),
    mosaic: Path = typer.Option(None, help="Where the picture goes.", show_default="NAME-mosaic.png"),
    download: bool = typer.Option(False, "--download", help="Fetch a named set that is not on this machine."),
    seed: int = typer.Option(0, help="Of a split that has to be made, and of which pictures are shown."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Look at a data set: what is in it, what is wrong."""
    from striate.data import open_data
    from striate.data.doctor import examine, look
    from striate.data.mend import mend
    from striate.data.mosaic import mosaic as draw
    from striate.training.progress import counting

    source = open_data(data, download=download, seed=seed)
    with counting("reading") as report_to:
        stores = look(source, lambda split: report_to)
    found = examine(source, stores, quick=quick, seed=seed)
    path = mosaic or Path(f"{Path(source.name).stem}-mosaic.png")
    draw(source, stores, seed).save(path)
    result = found.to_dict() | {"mosaic": str(path)}
    if not json:
        _print(found, path)
    if fix is not None:
        with counting("writing") as report_to:
            result["fixed"] = {"out": str(fix), **mend(source, stores, found, fix, report_to)}
        if not json:
            done = result["fixed"]
            print(f"\nmended copy   {fix}: {done['written']:,} pictures, {done['left_out']:,} left out")
            if done["to_review"]:
                print(f"to look at    {fix / 'review.csv'}: {done['to_review']:,} labels (not changed)")
    if json:
        print_json(result)


def _print(found: "Examination", mosaic: Path) -> None:
    """What it is, its classes as bars, then the findings."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    small, middle, large = ("×".join(map(str, found.sizes[k])) for k in ("smallest", "median", "largest"))
    size = small if small == large else f"{small} to {large}, median {middle} (height × width)"
    console.print(f"[bold]{found.name}[/bold]   {found.format}", markup=True)
    console.print(f"path       {found.path}", markup=False)
    console.print(f"pictures   {'colour' if found.colour else 'grey'}, {size}")
    for split, facts in found.splits.items():
        left_out = f", {facts['unreadable']} unreadable" if facts["unreadable"] else ""
        console.print(f"{split:<10} {facts['images']:,}{left_out}")
    console.print()
    _bars(console, found.splits)
    console.print(f"mosaic     {mosaic}\n", markup=False)
    _findings(console, found)


def _bars(console: Any, splits: dict[str, dict[str, Any]], most: int = 20, width: int = 30) -> None:
    """Pictures of each class over all splits."""
    totals: dict[str, int] = {}
    for facts in splits.values():
        for name, n in facts["classes"].items():
            totals[name] = totals.get(name, 0) + n
    largest = max(totals.values(), default=1) or 1
    label = min(24, max((len(name) for name in totals), default=0))
    for name, n in list(totals.items())[:most]:
        console.print(
            f"{name[:label]:<{label}}  {'█' * round(width * n / largest):<{width}}  {n:,}", markup=False
        )
    if len(totals) > most:
        console.print(f"... and {len(totals) - most} more classes")
    console.print()


def _findings(console: Any, found: "Examination", files: int = 5) -> None:
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    if not found.findings:
        console.print("[green]nothing wrong was found[/green]")
    for finding in found.findings:
        console.print(f"[{colours[finding.severity]}]{finding.severity:<8}[/]", end=" ")
        console.print(
            finding.message + (f" — {finding.suggestion}" if finding.suggestion else ""), markup=False
        )
        for file, looks in zip(finding.files[:files], [*finding.suggested, *[""] * files], strict=False):
            console.print(f"           {file}{f'  looks like {looks}' if looks else ''}", markup=False)
        if len(finding.files) > files:
            console.print(f"           ... and {len(finding.files) - files} more (--json lists all)")
