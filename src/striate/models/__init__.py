"""The zoo: the one function that builds any network, by its name in `table.MODELS`, as a design, from a file.

A new architecture is one file in this folder and one line in `table.MODELS`.
"""

import json
import re
from pathlib import Path
from typing import Any

from torch import nn

from striate import design
from striate.design import NAMED, Design
from striate.design.layers import LAYERS
from striate.errors import BadDesign, BadRun, BadSetting, DoesNotFit, one_of
from striate.models import published
from striate.models.designed import Designed
from striate.models.table import MODELS, Size
from striate.models.weights import load_weights

__all__ = ["MODELS", "Size", "from_spec", "native_size", "network", "next_size", "spec", "weights_file"]


def network(
    net: str | Path | nn.Module,
    *,
    classes: int | None = None,
    channels: int | None = None,
    size: int | Size | None = None,
    weights: str | Path | None = None,
    download: bool = False,
    floor: bool | None = None,
) -> nn.Module:
    """Build a network: (B, channels, *size) -> logits (B, classes).

    Args:
        net: a name in `MODELS`, a design (`"conv5-16 pad2, relu, pool2, softmax10"`), a path to a design in
            a .json file, or a module, which is handed back as it is.
        classes: how many it tells apart; a design's last fully connected layer is made to give as many.
        channels, size: of the pictures; size is height and width alike or (height, width).
            All three default to what the network was made for, and else to 10, 3 and 32.
        weights: a file to start from (see `weights.load_weights`), or "imagenet" for published ones.
        download: fetch published weights that are not on this machine.
        floor: of designs: drop rows and columns that a filter leaves over, as PyTorch does, where it
            would otherwise be refused.

    Raises:
        BadSetting: no such network; those there are are listed.
        BadDesign: a design that cannot be read.
        DoesNotFit: the network takes no pictures of that size.
        BadWeights: see `load_weights`.
    """
    if isinstance(net, nn.Module):
        built = net
    else:
        found = _read(net)
        built = _build(found, *_arguments(found, classes, channels, size), floor)
    if weights is not None:
        load_weights(built, weights_file(net, weights, download))
    return built


def weights_file(net: str | Path | nn.Module, weights: str | Path, download: bool = False) -> Path:
    """The file that `weights` means: a path, or "imagenet" for those published for `net`."""
    if str(weights) != "imagenet":
        return Path(weights)
    return published.imagenet(type(net).__name__ if isinstance(net, nn.Module) else str(net), download)


def native_size(net: str | Path | nn.Module) -> int | None:
    """The only height and width of pictures that a network is meant for; None where any will do."""
    if isinstance(net, nn.Module):
        return None
    found = _read(net)
    if isinstance(found, str):
        return MODELS[found].size if MODELS[found].fixed_size else None
    square = found.input is not None and found.input[1] == found.input[2]
    return found.input[1] if found.input is not None and square else None


def next_size(net: str | Path | nn.Module, side: int) -> int:
    """The smallest side, `side` or more, of square pictures that a network takes."""
    found = None if isinstance(net, nn.Module) else _read(net)
    if not isinstance(found, str):
        return side
    model = MODELS[found]
    if side <= model.least:
        return model.least
    return model.least + -(-(side - model.least) // model.every) * model.every


def spec(
    net: str | Path | nn.Module,
    *,
    classes: int | None = None,
    channels: int | None = None,
    size: int | Size | None = None,
    floor: bool | None = None,
) -> dict[str, Any]:
    """What `from_spec` needs to build the same network on another day, in plain JSON types.

    A design is kept whole, under its name if it has one, so that no later change of the table changes it. A
    module of the user's own is only named.
    """
    if isinstance(net, nn.Module):
        return {"module": type(net).__name__}
    found = _read(net)
    names = ("classes", "channels", "size")
    arguments: dict[str, Any] = dict(zip(names, _arguments(found, classes, channels, size), strict=True))
    arguments["size"] = list(arguments["size"])
    if floor is not None:
        arguments["floor"] = floor
    if isinstance(found, Design):
        return {"design": found.to_json(), **arguments}
    if found in NAMED:
        return {"net": found, "design": design.parse(NAMED[found]).to_json(), **arguments}
    return {"net": found, **arguments}


def from_spec(spec: dict[str, Any]) -> nn.Module:
    """The network that `spec` described, with fresh weights.

    Raises:
        BadRun: it was a module of the user's own, or the description is incomplete.
    """
    if "module" in spec:
        raise BadRun(
            f"the network is a Python module of your own, {spec['module']}, which no run folder holds: "
            "build it and give it: striate.load(run, network=...)"
        )
    try:
        kept = spec.get("design")
        found = one_of("network", spec["net"], MODELS) if kept is None else design.from_json(kept)
        height, width = spec["size"]
        arguments = spec["classes"], spec["channels"], (height, width)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRun(f"the network's description is incomplete: {type(error).__name__}: {error}") from error
    return _build(found, *arguments, spec.get("floor"))


def _read(net: str | Path) -> str | Design:
    """A name in `MODELS`, or the design that text or file hold."""
    text = str(net)
    if text in MODELS:
        return text
    if text.endswith(".json"):
        return _from_file(Path(text))
    try:
        return design.parse(text)
    except BadDesign:
        word = re.match("[a-z]*", text.lower())
        if "," in text or (word and word[0] in LAYERS):
            raise
    return one_of("network", text, MODELS)


def _from_file(path: Path) -> Design:
    if not path.is_file():
        raise BadDesign(f"{path}: there is no such file of a design")
    try:
        return design.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadDesign(f"{path}: cannot be read as a design in JSON: {error}") from error
    except BadDesign as error:
        raise BadDesign(f"{path}: {error}") from error


def _build(
    found: str | Design, classes: int, channels: int, size: Size, floor: bool | None = None
) -> nn.Module:
    if min(classes, channels, *size) < 1:
        raise BadSetting(
            f"a network of {classes} classes for {channels}×{size[0]}×{size[1]}: all must be 1 or more"
        )
    if isinstance(found, str) and found in NAMED:
        found = design.parse(NAMED[found])
    if isinstance(found, Design):
        return Designed(found, classes, (channels, *size), floor=bool(floor))
    model = MODELS[found]
    if model.fixed_size and size != (model.size, model.size):
        raise DoesNotFit(
            f"{found}: takes pictures of {model.size}×{model.size}, not {size[0]}×{size[1]}: "
            f"give pictures of that size, or choose a network without fully connected maps, such as resnet20"
        )
    return model.build(classes, channels, size)


def _arguments(
    found: str | Design, classes: int | None, channels: int | None, size: int | Size | None
) -> tuple[int, int, Size]:
    """(classes, channels, (height, width)), filled in with what the network was made for."""
    if isinstance(found, Design):
        usual_channels, *usual_size = found.input or (3, 32, 32)
        usual_classes = found.classes or 10
    else:
        model = MODELS[found]
        usual_channels, usual_size, usual_classes = model.channels, (model.size, model.size), model.classes
    if size is None:
        height, width = usual_size
    else:
        height, width = (size, size) if isinstance(size, int) else size
    return (
        usual_classes if classes is None else classes,
        usual_channels if channels is None else channels,
        (height, width),
    )
