"""How results are printed: one JSON object for programs, a few aligned lines for people."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from striate.profiling import Profile
    from striate.run import Run


def print_json(result: dict[str, Any]) -> None:
    """Exactly one JSON object on standard output."""
    print(json.dumps(result, ensure_ascii=False))


def report_on(run: "Run") -> None:
    """Where a finished run lies, what it reached, and what to do with it next."""
    figures = run.figures
    headline = f"{run.task.figure} {figures[run.task.figure]:.4f}"
    print(f"{headline} on {figures['split']}, after {figures['seconds']:.1f} s")
    print(f"report   {run.path / 'report.html'}")
    print(f"use it   striate predict {run.path} PICTURE...")
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


def percent(share: float) -> str:
    """0.98765 -> `98.77 %`."""
    return f"{100 * share:.2f} %"
