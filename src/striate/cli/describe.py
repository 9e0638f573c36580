"""`striate describe NET`: the table of a network, and the questions that run the arithmetic backwards."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from striate.cli.results import print_json
from striate.errors import BadSetting

if TYPE_CHECKING:
    from torch import nn

    from striate.design import Design
    from striate.tracing import Table

Input = tuple[int, int, int]


def describe(
    net: str = typer.Argument(
        None, help="A zoo name, a design in quotes, a .json file or a run folder.", show_default=False
    ),
    input: str = typer.Option(
        None,
        help="Channels x height x width.",
        metavar="3x32x32",
        show_default="what the network was made for; 3x32x32 for a design without input",
    ),
    classes: int = typer.Option(
        None,
        min=1,
        metavar="N",
        help="How many it tells apart.",
        show_default="as many as in its paper or design",
    ),
    floor: bool = typer.Option(
        None,
        "--floor/--strict",
        help="Drop what a filter leaves over, as PyTorch does, or refuse it.",
        show_default="strict for designs, else floor",
    ),
    batch: int = typer.Option(1, min=1, help="Pictures at once: the memory is for all of them."),
    memory: float = typer.Option(
        None, metavar="GB", help="Also the largest batch that trains in so much memory.", show_default=False
    ),
    smallest: bool = typer.Option(
        False, "--smallest", help="Also the smallest input that the network takes."
    ),
    solve: str = typer.Option(
        None,
        metavar="N:OUT:F",
        help="Instead of NET: every stride and padding that take N to OUT with an F×F filter; 227:55:11.",
        show_default=False,
    ),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Size a network: a row for every layer.

    Its output, parameters, cost, memory and receptive field.

    For example: striate describe "conv5-16 pad2, relu, pool2, softmax10" --input 3x32x32
    """
    if solve is not None:
        return _solve(solve, json)
    if net is None:
        raise BadSetting(
            "describe: say which network: a zoo name, a design in quotes, a .json file or a run folder"
        )
    from striate.tracing import BrokenNetwork, smallest_input

    found, shape, label = _resolve(net, None if input is None else _shape(input), classes)
    try:
        table, module = _trace(found, shape, batch, floor, label)
    except BrokenNetwork as error:
        if json:
            print_json(error.table.to_dict() | {"error": error.reason, "fixes": list(error.fixes)})
        elif error.table.rows:
            _print(error.table)
        raise
    answers: dict[str, Any] = {}
    if memory is not None:
        from striate.memory import largest_batch

        answers |= {"memory_gb": memory, "largest_batch": largest_batch(module, shape, memory)}
    if smallest:
        from striate.models import MODELS

        strict = floor is False or (floor is None and module is not found)
        side = smallest_input(module, shape[0], floor=not strict)
        if net in MODELS and MODELS[net].least > 1:  # this module is built for one size, the network is not
            side = min(side, MODELS[net].least)
        answers["smallest_input"] = [shape[0], side, side]
    if json:
        print_json(table.to_dict() | answers)
    else:
        _print(table)
        _say(answers)


def _resolve(net: str, shape: Input | None, classes: int | None) -> "tuple[nn.Module | Design, Input, str]":
    """The network or design, its input, and what to call it."""
    if os.path.isfile(os.path.join(net, "model.json")):  # a Path objects to designs longer than a name may be
        if classes is not None:
            raise BadSetting(f"--classes: {net} is trained, its classes are what it learned; leave it away")
        from striate import run
        from striate.models.folding import plain_part

        loaded = run.load(net, device="cpu")
        return plain_part(loaded.network), shape or loaded.prepare.input, Path(net).resolve().name
    from torch import device

    from striate import design, models

    known = models.spec(net)
    height, width = known["size"]
    usual = known["channels"], height, width
    if "design" in known:
        made = design.from_json(known["design"])
        label = known.get("net", Path(net).stem if net.endswith(".json") else "design")
        return made if classes is None else made.with_classes(classes), shape or usual, label
    channels, *size = shape or usual
    with device("meta"):  # the sizes are looked at, not the weights
        built = models.network(net, classes=classes, channels=channels, size=(size[0], size[1]))
    return built, shape or usual, net


def _trace(
    found: "nn.Module | Design", shape: Input, batch: int, floor: bool | None, label: str
) -> "tuple[Table, nn.Module]":
    """The table, and the network as a module."""
    from torch import device, nn

    from striate.tracing import trace, trace_design

    if isinstance(found, nn.Module):
        return trace(found, shape, batch, floor is not False, label), found
    table = trace_design(found, shape, batch, bool(floor), label)
    with device("meta"):
        return table, found.module(shape, bool(floor))


def _shape(text: str) -> Input:
    """`3x32x32` -> (3, 32, 32)."""
    match = re.fullmatch(r"(\d+)[x×,](\d+)[x×,](\d+)", text.strip().lower())
    if match is None or not all(int(n) for n in match.groups()):
        raise BadSetting(f"--input {text}: must be channels x height x width, such as 3x32x32")
    channels, height, width = (int(n) for n in match.groups())
    return channels, height, width


def _solve(text: str, json: bool) -> None:
    """`227:55:11`: which strides and paddings take 227 to 55 with an 11×11 filter."""
    from striate import geometry

    match = re.fullmatch(r"(\d+):(\d+):(\d+)", text.strip())
    if match is None or not all(int(n) for n in match.groups()):
        raise BadSetting(f"--solve {text}: must be input:output:filter, such as 227:55:11")
    n, out, size = (int(number) for number in match.groups())
    solutions = geometry.solve(n, out, size)
    if json:
        found = [{"stride": stride, "pad": pad} for stride, pad in solutions]
        return print_json({"input": n, "output": out, "filter": size, "solutions": found})
    for stride, pad in solutions:
        print(f"stride {stride}, padding {pad}: {geometry.formula(n, size, stride, pad)}")
    if not solutions:
        print(f"no stride and padding take {n} to {out} with {size}×{size} and nothing left over")


def _print(table: "Table") -> None:
    """The table, as many columns as the terminal is wide for."""
    from rich.console import Console

    from striate.tracing.columns import draw

    left_out = draw(table, Console(highlight=False))
    if left_out:
        names = ", ".join(left_out)
        print(f"left out, for a wider terminal or --json: {names}", file=sys.stderr)


def _say(answers: dict[str, Any]) -> None:
    if "largest_batch" in answers:
        print(f"largest batch that trains in {answers['memory_gb']:g} GB: {answers['largest_batch']:,}")
    if "smallest_input" in answers:
        from striate.geometry import times

        print(f"smallest input: {times(answers['smallest_input'])}")
