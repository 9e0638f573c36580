"""`striate models`: the zoo."""

from collections import Counter
from math import log10
from pathlib import Path
from typing import Any

import typer

from striate.cli.results import print_json
from striate.errors import BadSetting


def models(
    plot: str = typer.Option(
        None, metavar="FILE", help="Draw cost against published error into FILE (.png, .svg)."
    ),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """List the networks: year, paper, costs, error.

    With stages and strides, and where weights come from. Numbers are for the classes and the size of
    pictures that the paper had.
    """
    if plot is not None:
        _plot(Path(plot))
        return
    rows = _rows()
    if json:
        print_json({"models": rows})
        return
    from rich.console import Console
    from rich.table import Table

    from striate.geometry import times

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column in ("name", "year", "paper"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "mult-adds", "input", "classes", "stages (strides)", "error %"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("weights")
    for row in rows:
        counts = f"{row['parameters']:,}", f"{row['multiply_adds']:,}"
        size = times(row["input"])
        strides = ", ".join(str(stride) for stride in row["strides"].values())
        error = "" if row["error"] is None else f"{row['error']:.2f}"
        stages = f"{len(row['strides'])} ({strides})"
        cells = row["name"], str(row["year"]), row["paper"], *counts, size, str(row["classes"]), stages, error
        table.add_row(*cells, row["weights"])
    Console(highlight=False, width=max(170, Console().width)).print(table)
    print(
        "\nerror: as published; MNIST's and CIFAR-10's in the best guess, ImageNet's in the five best\n"
        "(one crop for ResNet, GoogLeNet and torchvision's two, ten for AlexNet and ZF Net, dense for VGG).\n"
        "Beside these, any design is a network: striate describe 'conv5-16 pad2, relu, pool2, softmax10'"
    )


def _rows() -> list[dict[str, Any]]:
    """One dict per network, oldest first."""
    import torch

    from striate.models import MODELS, network
    from striate.models.published import IMAGENET

    rows = []
    for name, model in sorted(MODELS.items(), key=lambda item: item[1].year):
        with torch.device("meta"):
            strides = network(name).strides
        rows.append(
            {
                "name": name,
                "year": model.year,
                "paper": model.paper,
                "parameters": model.parameters,
                "multiply_adds": model.multiply_adds,
                "input": [model.channels, model.size, model.size],
                "fixed_size": model.fixed_size,
                "classes": model.classes,
                "strides": strides,
                "judged": model.judged,
                "error": model.error,
                "weights": "imagenet (torchvision)" if name in IMAGENET else "",
            }
        )
    return rows


def _plot(path: Path) -> None:
    """Cost against published error, one panel for each data set that errors were measured on."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise BadSetting(f"--plot {path}: name a file that ends in .png, .svg or .pdf.")
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import EngFormatter

    from striate.ink import BLUE
    from striate.models import MODELS

    judged = [(name, model, model.error) for name, model in MODELS.items() if model.error is not None]
    counted = Counter(model.judged for _, model, _ in judged)
    sets = [data for data, _ in counted.most_common()]
    figure = Figure(figsize=(6 * len(sets), 5.5), layout=ConstrainedLayoutEngine(wspace=0.06))
    figure.suptitle("What a network costs and what it was published with (area: parameters)")
    for axes, data in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        some = [row for row in judged if row[1].judged == data]
        errors = [error for *_, error in some]
        axes.scatter(
            [model.multiply_adds for _, model, _ in some],
            errors,
            s=[12 + 4 * (model.parameters / 1e5) ** 0.5 for _, model, _ in some],
            color=tuple(part / 255 for part in BLUE),
            alpha=0.6,
        )
        # A name goes to the right of its point; above it or to the left where a neighbour's name would be.
        named: list[tuple[float, float]] = []
        for name, model, error in sorted(some, key=lambda row: row[2]):
            x, y = log10(model.multiply_adds), error / (max(errors) - min(errors))
            near = [other - x for other, level in named if abs(level - y) < 0.03]
            above, left = any(abs(gap) < 0.05 for gap in near), any(0.05 <= gap < 0.25 for gap in near)
            axes.annotate(
                name,
                (model.multiply_adds, error),
                xytext=(0, 9) if above else (-8, -3) if left else (8, -3),
                textcoords="offset points",
                ha="center" if above else "right" if left else "left",
                fontsize=8,
            )
            named.append((x, y))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.set_title(data)
        axes.set_xlabel("multiply-adds for one picture")
        axes.set_ylabel("published error, %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    print(path)
