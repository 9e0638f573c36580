"""The table of a network as people read it: as many columns as there is room for."""

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid

from striate.geometry import times

if TYPE_CHECKING:
    from striate.tracing.table import Table


def as_text(table: "Table") -> str:
    """All columns, however wide."""
    page = io.StringIO()
    draw(table, Console(file=page, width=1000, highlight=False))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _columns(table: "Table") -> list[tuple[str, list[str], str, int]]:
    """(heading, cells, total, when it goes).

    Where it is narrow, the highest last number goes first; 9 is not missed.
    """
    rows = table.rows
    redundant = all(row.name.rstrip("0123456789") == row.kind for row in rows)
    forward, kept = (sum(vars(row)[key] for row in rows) for key in ("forward_bytes", "backward_bytes"))
    return [
        ("layer", [row.name for row in rows], "total", 0),
        ("kind", [row.kind for row in rows], "", 9 if redundant else 1),
        ("output", [times(row.output) for row in rows], times(table.output), 0),
        ("(N − F + 2P)/S + 1", [row.formula for row in rows], "", 3),
        ("dot product", [row.dot_product for row in rows], "", 6),
        ("parameters", [_number(row.parameters) for row in rows], f"{table.parameters:,}", 0),
        ("multiply-adds", [_number(row.multiply_adds) for row in rows], f"{table.multiply_adds:,}", 0),
        ("memory", [_bytes(row.forward_bytes) for row in rows], _bytes(forward), 4),
        ("kept", [_bytes(row.backward_bytes) for row in rows], _bytes(kept), 5),
        ("sees", [_pair(row.receptive_field) for row in rows], "", 2),
        ("stride", [_pair(row.stride) for row in rows], "", 7),
        ("centre", [_pair(row.centre) for row in rows], "", 8),
    ]  # fmt: skip


def draw(table: "Table", console: Console) -> list[str]:
    """Print the table; returns the headings for which the console is not wide enough."""
    columns = _columns(table)
    left_out = []

    def width(column: tuple[str, list[str], str, int]) -> int:
        return 2 + max(map(len, (column[0], column[2], *column[1])))

    while sum(map(width, columns)) > console.width and max(column[3] for column in columns):
        least = max(columns, key=lambda column: column[3])
        if least[3] < 9:
            left_out.append(least[0])
        columns.remove(least)
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_footer=True, header_style="bold", footer_style="bold")
    text = {"layer", "kind", "output", "(N − F + 2P)/S + 1", "dot product"}
    for heading, _, total, _ in columns:
        left = heading in text
        grid.add_column(
            heading, total, justify="left" if left else "right", no_wrap=True, overflow="ellipsis"
        )
    for cells in zip(*(column[1] for column in columns), strict=True):
        grid.add_row(*cells)
    console.print(
        f"{table.network}, input {times(table.input)}" + (f", batch {table.batch}" if table.batch > 1 else "")
    )
    console.print(grid)
    if table.idle:
        console.print(f"with weights, but not run here: {', '.join(table.idle)}", markup=False)
    return left_out


def _number(value: int) -> str:
    return f"{value:,}" if value else ""


def _pair(values: tuple[float, float]) -> str:
    first, second = (f"{value:g}" for value in values)
    return first if first == second else f"{first}×{second}"


def _bytes(count: int) -> str:
    """4,096 -> `4.1 kB`: powers of 1000, three figures."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}" if count else ""
