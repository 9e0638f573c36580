"""`striate data DATA`: the doctor."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from striate.cli.results import print_json
from striate.errors import BadSetting

if TYPE_CHECKING:
    from rich.console import Console

    from striate.data.doctor import Examination
    from striate.data.findings import Finding
    from striate.data.source import Source

MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "cyan")}


def data(
    data: str = typer.Argument(
        ..., help="A named set (mnist, digits, ...) or a path: folders, zip, CSV, ..."
    ),
    fix: Path = typer.Option(None, metavar="OUT", help="Write a mended copy as class folders to OUT."),
    to: tuple[str, Path] | None = typer.Option(
        None, metavar="FORMAT OUT", help="Write boxes, outlines, joints again as coco, yolo or voc."
    ),
    mosaic: Path = typer.Option(
        None, metavar="PNG", help="Where the mosaic goes.", show_default="runs/data/NAME.png"
    ),
    quick: bool = typer.Option(False, "--quick", help="No near duplicates, doubtful labels, or mosaic."),
    download: bool = typer.Option(False, "--download", help="Fetch a named set that is not on this machine."),
    seed: int = typer.Option(0, min=0, help="Of a split that has to be made, and of the pictures shown."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Look at a data set: what is in it, what is wrong."""
    from striate.data import open_data
    from striate.data.convert import refuse_full
    from striate.data.doctor import examine
    from striate.data.mend import mend
    from striate.data.mosaic import mosaic as draw
    from striate.data.mosaic import save
    from striate.training.progress import counting

    if to is not None and (fix is not None or mosaic is not None):
        raise BadSetting("--to writes boxes and joints anew, and that alone: leave --fix and --mosaic away.")
    if fix is not None:
        refuse_full(fix)
    source = open_data(data, download=download, seed=seed)
    if to is not None:
        return _convert(source, *to, json)
    with counting("looking at pictures") as report:
        found = examine(source, quick=quick, seed=seed, progress=report)
    picture = mosaic or (None if quick else Path("runs/data") / f"{source.name.replace('/', '_')}.png")
    if picture is not None:
        save(draw(source, seed, found.unreadable), picture)
    mended = None
    if fix is not None:
        with counting("writing") as report:
            mended = mend(source, found, fix, report)
    if json:
        extra = {"mosaic": picture and str(picture), "fixed": mended and mended.to_dict()}
        print_json(found.to_dict() | extra)
        return
    _print(found, picture)
    if mended:
        counts = " / ".join(f"{split} {count:,}" for split, count in mended.pictures.items())
        print(f"\nmended    {mended.path}: {counts}")
        print(f"          left out: {mended.unreadable:,} unreadable, {mended.duplicates:,} duplicates")
        if mended.review:
            print(f"review    {fix / 'review.csv'}: {mended.review:,} labels to decide on, none was changed")
    elif any("--fix" in finding.suggestion for finding in found.findings):
        print(f"\nmend it   striate data {data} --fix OUT")


def _convert(source: "Source", to: str, out: Path, json: bool) -> None:
    """Write the set again in another format, and say what that has no words for."""
    from striate.data.convert import convert

    lost = {what: count for what, count in convert(source, to, out).items() if count}
    counts = {name: len(split) for name, split in source.splits.items()}
    if json:
        print_json({"path": str(out), "format": to, "pictures": counts, "lost": lost})
        return
    print(f"{out}: {' / '.join(f'{split} {count:,}' for split, count in counts.items())} pictures as {to}")
    for what, count in lost.items():
        print(f"lost      {count:,} {what}")


def _print(found: "Examination", mosaic: Path | None) -> None:
    """Facts, the balance of classes, findings."""
    from rich.console import Console

    from striate.data.doctor import label_check

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(found.name, style="bold", end="")
    console.print(f"  {found.format}, {found.path}")
    if found.licence:
        console.print(f"licence   {found.licence}")
    made = "val was held out, stratified: the set has none" if found.split_made else "as found"
    splits = " / ".join(f"{split} {count:,}" for split, count in found.counts.items())
    damaged = f", {len(found.unreadable):,} of them unreadable" if found.unreadable else ""
    console.print(f"pictures  {splits}{damaged} ({made})")
    if found.sizes:
        console.print(f"sizes     {_sizes(found.sizes)}")
        modes = ", ".join(f"{mode} {count:,}" for mode, count in found.modes.items())
        console.print(f"colour    {modes}")
    if found.balance and not found.quick:
        console.print(f"labels    {label_check(found)}")
    if mosaic:
        console.print(f"mosaic    {mosaic}")
    _print_classes(console, found)
    _print_findings(console, found.findings)


def _sizes(sizes: dict[str, list[int]]) -> str:
    """`all 28×28`, or smallest, median and largest, width first."""
    text = {name: f"{width}×{height}" for name, (height, width) in sizes.items()}
    if len(set(text.values())) == 1:
        return f"all {text['min']}"
    return f"{text['min']} to {text['max']}, median {text['median']} (width × height)"


def _print_classes(console: "Console", found: "Examination", most: int = 30, width: int = 28) -> None:
    """A bar for every class, long as its pictures in the first split, and the counts of every split."""
    if not found.balance:
        return
    first = next(iter(found.balance.values()))
    top, longest = max(max(first), 1), min(24, max(len(name) for name in found.classes))
    console.print(f"\n{'':{longest}}  {'':{width}} " + "".join(f"{split:>9}" for split in found.balance))
    for k, name in enumerate(found.classes[:most]):
        shown = name if len(name) <= longest else name[: longest - 1] + "…"
        counts = "".join(f"{counts[k]:>9,}" for counts in found.balance.values())
        console.print(f"{shown:{longest}}  ", end="")
        console.print(f"{'█' * round(width * first[k] / top):{width}}", style="blue", end="")
        console.print(f" {counts}")
    if len(found.classes) > most:
        console.print(f"... and {len(found.classes) - most} more classes (--json lists all)")


def _print_findings(console: "Console", findings: "tuple[Finding, ...]", most: int = 5) -> None:
    """Each with its first files and what to do."""
    if not findings:
        console.print("\nnothing wrong was found", style="green")
    for finding in findings:
        mark, colour = MARKS[finding.severity]
        console.print(f"\n{mark} {finding.severity}", style=colour, end="")
        console.print(f"  {finding.message}")
        lines = finding.lines()
        if any(name not in finding.message for name in lines):
            for line in lines[:most]:
                console.print(f"    {line}")
            if len(lines) > most:
                console.print(f"    ... and {len(lines) - most:,} more (--json lists all)")
        if finding.suggestion:
            console.print(f"    → {finding.suggestion}", style="dim")
