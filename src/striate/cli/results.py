"""How results are printed: one JSON object for programs, a few aligned lines for people."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def percent(share: float) -> str:
    """0.98765 -> `98.77 %`."""
    return f"{100 * share:.2f} %"
