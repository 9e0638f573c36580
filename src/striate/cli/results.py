"""How results are printed: one JSON object for programs, a few aligned lines for people."""

import json
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from striate.profiling import Profile
    from striate.run import Run


def print_json(result: dict[str, Any]) -> None:
    """Exactly one JSON object on standard output, in ASCII: any terminal and any file name will do."""
    print(json.dumps(result))


def report_on(run: "Run") -> None:
    """Where a finished run lies, what it reached, and what to do with it next."""
    figures = run.figures
    figure = figures.get(run.task.figure)  # there is none of pictures without anything to be found
    headline = f"no {run.task.figure}" if figure is None else f"{run.task.figure} {figure:.4f}"
    print(f"{headline} on {figures['split']}, after {figures['seconds']:.1f} s")
    print(f"report   {run.path / 'report.html'}")
    print(f"use it   striate predict {run.path} PICTURE...")
    if not run.info["recipe"]["patience"]:  # what patience has ended does not go on
        print(f"more     striate train --resume --out {run.path} --epochs {2 * figures['epochs']}")


def print_profile(found: "Profile") -> None:
    """A row per layer, then the whole step, then what other layouts and batches reach."""
    from rich.console import Console
    from rich.table import Table

    from striate.geometry import times

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for column in ("output", "ms forward", "backward", "of step", "GFLOP/s", "of peak"):
        table.add_column(column, justify="right")
    for layer in found.layers:
        seconds, rate = layer.forward + layer.backward, found.flops(layer)
        table.add_row(
            layer.name,
            layer.kind,
            times(layer.output),
            f"{1e3 * layer.forward:.2f}",
            f"{1e3 * layer.backward:.2f}",
            f"{100 * seconds / found.step:.1f} %",
            f"{rate / 1e9:.1f}" if rate else "",
            f"{100 * rate / found.peak:.0f} %" if rate else "",
        )
    Console(highlight=False).print(table)
    inside = sum(layer.forward + layer.backward for layer in found.layers)
    print(
        f"\na step of {found.batch} pictures takes {1e3 * found.step:.1f} ms, its layers alone "
        f"{1e3 * inside:.1f}; the peak, a large matrix product, is {found.peak / 1e9:.0f} GFLOP/s"
    )
    for layout, speeds in found.speeds.items():
        print(f"{layout:14}" + ", ".join(f"batch {b}: {speed:,.0f} images/s" for b, speed in speeds.items()))
    layout, batch = found.fastest
    print(
        f"fastest here   --batch {batch} --set channels_last={'yes' if layout == 'channels-last' else 'no'}"
    )


def print_differences(found: dict[str, Any], where: str, theirs: Any) -> None:
    """Why two figures differ: the rule that was reported, both figures, causes, pictures to blame, rules."""
    if "reported" in found:
        nearest = " or ".join(f"`{rule}`" for rule in found["nearest"])
        figure = found["rules"][found["nearest"][0]]
        near = abs(figure - found["reported"]) < 0.005
        is_ = "that is" if near else "no rule gives that; the nearest is"
        print(f"{found['reported']:.4f} was reported: {is_} {nearest} ({figure:.4f})\n")
    kind = {"box": "boxes", "mask": "masks", "joints": "joints"}[found["kind"]]
    print(f"{where}: {kind} of {found['images']:,} pictures\n")
    ours, his = ([f"{found[key][name]:.4f}" for name in ("map", "map50")] for key in ("ours", "theirs"))
    table(
        ["", "map", "map50"],
        [["ours", *ours], [str(theirs), *his], ["difference", f"{found['difference']:+.4f}"]],
    )
    if found["causes"]:
        rows = [
            [
                one["cause"],
                f"{one['change']:+.4f}",
                "–" if one["share"] is None else f"{100 * one['share']:.1f} %",
                f"{one['pictures']:,}",
            ]
            for one in found["causes"]
        ]
        table(["cause", "change of map", "share", "pictures"], rows)
    else:
        print("the answers are the same\n")
    if found["blame"]:
        rows = [
            [one["file"], str(one["image_id"]), f"{one['change']:+.5f}", one["why"]] for one in found["blame"]
        ]
        table(["pictures to blame", "image_id", "change of map", "theirs against ours"], rows)
        tried = f"each of {found['blame_tried']:,} pictures exchanged alone"
        print(f"(for {found['blame_for']}, {tried}; the worst are shown)\n")
    rows = [[rule, f"{figure:.4f}"] for rule, figure in found["rules"].items()]
    table(["their answers, counted by", "figure"], rows)


def table(header: list[str], rows: list[list[str]]) -> None:
    """Words to the left, numbers to the right, then an empty line."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(header):
        words = place == 0 or name.startswith("theirs")
        shown.add_column(name, justify="left" if words else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console(highlight=False, markup=False).print(shown)
    print()


def free(path: Path) -> Path:
    """The path, with a number behind its name where that is taken: `a.png`, `a-2.png`, `a-3.png`, ..."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


def percent(share: float) -> str:
    """0.98765 -> `98.77 %`."""
    return f"{100 * share:.2f} %"
