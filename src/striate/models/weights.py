"""Weights learned elsewhere: a file's tensors onto a network's, by name or by order and shape, or refused.

Reads `.safetensors`, and PyTorch's own files restricted to tensors: nothing in a file is ever executed.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from torch import Tensor, nn

from striate.errors import BadWeights

# What training scripts call the weights inside a checkpoint, and what wrappers put before every name.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")
PREFIXES = ("module.", "_orig_mod.")
KINDS = ("weight", "bias", "running_mean", "running_var")
NUMBERED = re.compile(rf"(features|classifier)\.(\d+)\.({'|'.join(KINDS)})")
"""The names of torchvision's AlexNet and VGG."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Loaded:
    """What went where."""

    by: Literal["name", "order"]
    pairs: tuple[tuple[str, str], ...]
    """(our name, the file's name) of every tensor that was loaded."""
    left: tuple[str, ...]
    """Our names that keep their random start: classifiers, where the number of classes differs or where they
    are auxiliary and not in the file."""


def load_weights(network: nn.Module, path: str | Path, say: Callable[[str], Any] = print) -> Loaded:
    """Load a file of weights into `network`, and `say` what was done, line by line.

    The same names load by name, and so do those that torchvision gives to the same network. Other names load
    when the tensors have the same shapes in the same order (which .safetensors files do not keep), and the
    mapping is said. The classifier may be of another number of classes: it is then left alone, as auxiliary
    classifiers are that the file does not have. Either everything fits or nothing is changed.

    Raises:
        BadWeights: the file is missing, damaged, holds more than tensors, or is of another network; the
            message names the first tensor that does not fit, with both shapes.
    """
    path = Path(path)
    ours, theirs = _counted(network.state_dict()), _counted(read(path))
    side = tuple(f"{part}." for part in getattr(network, "auxiliary", ()))
    spare = {name for name in ours if side and name.startswith(side)}
    last = _classifiers(ours, side)
    by: Literal["name", "order"] = "name"
    names = {name: name for name in theirs}
    if not _same_names(ours, names, spare, last):
        names = {_as_here(name): name for name in theirs}
    if _same_names(ours, names, spare, last):
        pairs = _by_name(path, ours, {mine: theirs[other] for mine, other in names.items()}, last)
        pairs = [(mine, names[mine]) for mine in pairs]
    else:
        by, pairs = "order", _by_order(path, ours, theirs, last)
    left = [name for name in ours if name not in dict(pairs)]
    if not pairs:
        raise BadWeights(f"{path}: nothing in it fits this network: {_advice(ours, theirs)}")
    with torch.no_grad():
        for mine, other in pairs:
            ours[mine].copy_(theirs[other])
    loaded = Loaded(by, tuple(pairs), tuple(left))
    for line in _lines(path, loaded, ours, last):
        say(line)
    return loaded


def read(path: Path) -> Tensors:
    """The tensors in a file, in its order, without the wrappers that training scripts add.

    Raises:
        BadWeights: no such file, not weights, or a pickle that asks for anything but tensors.
    """
    if not path.is_file():
        raise BadWeights(f"{path}: there is no such file of weights")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pytorch(path)
    for _ in WRAPPERS:
        inside = [content[key] for key in WRAPPERS if isinstance(content, Mapping) and key in content]
        inside = [value for value in inside if isinstance(value, Mapping)]
        if not inside:
            break
        content = inside[0]
    if not isinstance(content, Mapping):
        raise BadWeights(f"{path}: holds a {type(content).__name__}, not named tensors: save a state_dict()")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BadWeights(f"{path}: holds no tensors under their names: save a state_dict()")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path}: cannot be read as safetensors: {error}") from error


def _pytorch(path: Path) -> Any:
    """Whatever `torch.save` wrote, if it is tensors, plain values and containers of them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old file formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BadWeights(
            f"{path}: refused: it is not a PyTorch file of tensors alone, and anything else could run a "
            "stranger's code: save it again with torch.save(network.state_dict(), path) where you trust it"
        ) from error
    except Exception as error:  # torch raises whatever the damaged byte leads to
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadWeights(f"{path}: damaged, or no PyTorch weights at all: {reason}") from error


def _counted(tensors: Mapping[str, Tensor]) -> Tensors:
    """Without batch norm's counters of batches, which old files lack and nothing here reads."""
    return {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}


def _classifiers(ours: Tensors, side: tuple[str, ...]) -> set[str]:
    """The names of the last layer's tensors: of the network, and of every part whose name begins so."""
    ends = [[name for name in ours if name.startswith(start)][-1:] for start in ("", *side)]
    layers = {_layer(name) for end in ends for name in end}
    return {name for name in ours if _layer(name) in layers}


def _layer(name: str) -> str:
    """What a tensor is part of."""
    return name.rpartition(".")[0]


def _same_names(ours: Tensors, theirs: Mapping[str, Any], spare: set[str], last: set[str]) -> bool:
    """Whether the file has all our names but those it may lack."""
    head = last - spare
    return set(ours) - last - spare <= set(theirs) and (head <= set(theirs) or set(theirs) <= set(ours))


def _as_here(name: str) -> str:
    """What a tensor of torchvision's ResNets and GoogLeNet is called here."""
    name = name.replace(".downsample.", ".shortcut.")
    return f"head.{name}" if name.startswith("fc.") else name


def _by_name(path: Path, ours: Tensors, theirs: Tensors, last: set[str]) -> list[str]:
    strange = [name for name in theirs if name not in ours]
    if strange:
        what = f"{strange[0]} ({shape(theirs[strange[0]])})"
        raise BadWeights(f"{path}: this network has no {what}: {_advice(ours, theirs)}")
    halved = {_layer(name) for name in last if name not in theirs}  # left alone as a whole
    whole = [name for name in last if _layer(name) not in halved]
    alone = last if _other_classes([(ours[name], theirs[name]) for name in whole]) else last - set(whole)
    both = [name for name in ours if name in theirs and name not in alone]
    for name in both:
        if not _fits(ours[name], theirs[name]):
            _refuse(path, ours, name, theirs, name)
    return both


def _by_order(path: Path, ours: Tensors, theirs: Tensors, last: set[str]) -> list[tuple[str, str]]:
    if path.suffix == ".safetensors" and all(NUMBERED.fullmatch(name) for name in theirs):
        theirs = dict(sorted(theirs.items(), key=lambda item: _place(item[0])))
    elif path.suffix == ".safetensors":
        missing = next(name for name in ours if name not in theirs)
        raise BadWeights(
            f"{path}: has no {missing} ({shape(ours[missing])}), and .safetensors keeps no order by which "
            "other names could be mapped: rename its tensors, or save them in our order with torch.save"
        )
    pairs = list(zip(ours, theirs, strict=False))
    if len(ours) == len(theirs):
        ends = [(ours[mine], theirs[other]) for mine, other in pairs if mine in last]
        if _other_classes(ends):
            pairs = [pair for pair in pairs if pair[0] not in last]
    for mine, other in pairs:
        kinds = {name.rpartition(".")[2] for name in (mine, other)}
        if not _fits(ours[mine], theirs[other]) or (len(kinds) == 2 and kinds <= set(KINDS)):
            _refuse(path, ours, mine, theirs, other)
    if len(ours) != len(theirs):
        name, whose = (
            (list(theirs)[len(ours)], "the network ends before the file's")
            if len(ours) < len(theirs)
            else (list(ours)[len(theirs)], "the file ends before the network's")
        )
        size = shape((theirs if len(ours) < len(theirs) else ours)[name])
        raise BadWeights(f"{path}: {whose} {name} ({size}): {_advice(ours, theirs)}")
    return pairs


def _place(name: str) -> tuple[bool, int, int]:
    """Where a numbered tensor is in its network."""
    part, number, kind = name.split(".")
    return part == "classifier", int(number), KINDS.index(kind)


def _fits(mine: Tensor, other: Tensor) -> bool:
    return mine.shape == other.shape and mine.is_floating_point() == other.is_floating_point()


def _other_classes(ends: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Whether the classifiers differ, and only in how many classes they tell apart."""
    both = [(mine.shape, other.shape) for mine, other in ends]
    return all(mine[1:] == other[1:] and mine[:1] != other[:1] for mine, other in both)


def _refuse(path: Path, ours: Tensors, mine: str, theirs: Tensors, other: str) -> None:
    raise BadWeights(
        f"{path}: {other} ({shape(theirs[other])}) does not fit {mine} ({shape(ours[mine])}): "
        + _advice(ours, theirs)
    )


def _advice(ours: Tensors, theirs: Tensors) -> str:
    """What would help: another number of input channels, or another network."""
    mine, other = next(iter(ours.values())).shape, next(iter(theirs.values())).shape
    if len(ours) == len(theirs) and len(mine) == len(other) == 4 and mine[1] != other[1]:
        return f"the file is of a network for {other[1]} input channels, this one takes {mine[1]}"
    same = (
        "" if len(ours) == len(theirs) else f"the file has {len(theirs)} tensors, this network {len(ours)}: "
    )
    return f"{same}choose the network that the file was trained as"


def shape(tensor: Tensor) -> str:
    """16×3×3×3."""
    return "×".join(str(length) for length in tensor.shape) or "one number"


def _lines(path: Path, loaded: Loaded, ours: Tensors, last: set[str]) -> list[str]:
    how = "name" if loaded.by == "name" else "order and shape, ours ← theirs"
    lines = [f"{path.name}: {len(loaded.pairs)} tensors loaded by {how}"]
    if loaded.by == "order":
        lines += [f"  {mine} ← {other}  {shape(ours[mine])}" for mine, other in loaded.pairs]
    absent = {name.partition(".")[0] for name in loaded.left if name not in last}
    ends = [name for name in loaded.left if name.partition(".")[0] not in absent]
    if ends:
        lines.append(f"{path.name}: the classifier keeps its random start (other classes): {', '.join(ends)}")
    if absent:
        lines.append(f"{path.name}: has no {' and '.join(sorted(absent))}: ours keep their random start")
    return lines
