"""`striate models`: the zoo."""

from collections.abc import Iterator
from typing import Any

import typer

from striate.cli.results import print_json


def models(
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """The zoo: year, paper, parameters, multiply-adds, size of the pictures, weights."""
    rows = list(_rows())
    if json:
        print_json({"models": rows})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column in ("name", "year", "paper"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "mult-adds", "input"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("weights")
    for row in rows:
        counts = f"{row['parameters']:,}", f"{row['multiply_adds']:,}"
        size = "×".join(str(n) for n in row["input"])
        table.add_row(row["name"], str(row["year"]), row["paper"], *counts, size, row["weights"] or "–")
    Console(highlight=False).print(table)
    print("\nBeside these, any design is a network: striate describe 'conv5-16 pad2, relu, pool2, softmax10'")


def _rows() -> Iterator[dict[str, Any]]:
    """One dict per network, oldest first, for ten classes and the pictures it was made for."""
    from striate.models import MODELS

    for name, model in sorted(MODELS.items(), key=lambda item: item[1].year):
        yield {
            "name": name,
            "year": model.year,
            "paper": model.paper,
            "parameters": model.parameters,
            "multiply_adds": model.multiply_adds,
            "input": [model.channels, model.size, model.size],
            "fixed_size": model.fixed_size,
            "weights": model.weights,
        }
