"""What a person sees while a network trains: one bar, then one line for every epoch, on standard error."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from striate.training.loop import Row


def console() -> Console:
    """Standard error: standard output belongs to results."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def shown(rows: Iterable[Row], figure: str, epochs: int, visible: bool = True) -> Iterator[Row]:
    """Pass the rows of a training through, showing each as it comes."""
    if not visible:
        yield from rows
        return
    with _bar() as bar:
        job = bar.add_task("", total=None, loss="", speed="")
        for row in rows:
            speed = f"{row['images_per_second']:,.0f} img/s"
            bar.update(
                job, total=row["steps"], completed=row["step"], speed=speed, loss=f"loss {row['loss']:.4f}"
            )
            bar.update(job, description=f"epoch {row['epoch']}/{epochs}")
            if row["row"] == "epoch":
                bar.console.print(epoch_line(row, figure, epochs))
            yield row


def epoch_line(row: Row, figure: str, epochs: int) -> str:
    """One epoch: `epoch  3/10   loss 0.0712   accuracy 0.9812   9,120 img/s   12.3 s`."""
    width = len(str(epochs))
    parts = [f"epoch {row['epoch']:>{width}}/{epochs}", f"loss {row['loss']:.4f}"]
    if figure in row:
        parts.append(f"{figure} {row[figure]:.4f}")
    return "   ".join([*parts, f"{row['images_per_second']:,.0f} img/s", f"{row['seconds']:.1f} s"])


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console(), transient=True, disable=not sys.stderr.isatty(), expand=True)


@contextmanager
def counting(what: str, visible: bool = True):
    """A bar for work that reports `(done, total)`: yields the function to report to.

    It appears only when the work is still going on after half a second.
    """
    import time

    began, bar, job = time.perf_counter(), _count_bar(), None

    def report(done: int, total: int) -> None:
        nonlocal job
        if not visible or time.perf_counter() - began < 0.5:
            return
        if job is None:
            bar.start()
            job = bar.add_task(what, total=total)
        bar.update(job, completed=done)

    try:
        yield report
    finally:
        if job is not None:
            bar.stop()


def _count_bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
    )
    # Rich would send lines printed meanwhile to standard error, also those that go to a file.
    shared = sys.stdout.isatty()
    return Progress(
        *columns,
        console=console(),
        transient=True,
        redirect_stdout=shared,
        disable=not sys.stderr.isatty(),
    )
