"""A network as a teacher writes it on a blackboard, and the same as JSON and as Python layers, without loss.

    parse("input 3x32x32, conv5-16 pad2, relu, pool2, softmax10")      text   -> Design
    from_json({"input": [3, 32, 32], "layers": [{"layer": "conv", "size": 5, "filters": 16}]})
    from_module(nn.Sequential(...))                                    layers -> Design

Layers stand in a row. Each form is canonical: `pad same` becomes its number, `fc10, softmax` becomes
`softmax10`, and the `flatten` that a fully connected layer implies is not written. Only `module` and
`from_module` need PyTorch.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from striate.design import layers as parts
from striate.design import text as line
from striate.design.layers import FC, Activation, Dropout, Flatten, Layer, Shape, Softmax
from striate.errors import BadDesign

if TYPE_CHECKING:  # so that text, JSON and arithmetic stay instant
    from torch import nn

Input = tuple[int, int, int]

NAMED = {
    # Nielsen, "Neural Networks and Deep Learning", chapter 6: the networks of network3.py, in its order.
    "nielsen-shallow": "input 1x28x28, fc100, sigmoid, softmax10",
    "nielsen-conv1": "input 1x28x28, conv5-20, pool2, sigmoid, fc100, sigmoid, softmax10",
    "nielsen-conv2": "input 1x28x28, conv5-20, pool2, sigmoid, conv5-40, pool2, sigmoid, "
    "fc100, sigmoid, softmax10",
    "nielsen-conv2-relu": "input 1x28x28, conv5-20, pool2, relu, conv5-40, pool2, relu, "
    "fc100, relu, softmax10",
    "nielsen-conv2-fc2": "input 1x28x28, conv5-20, pool2, relu, conv5-40, pool2, relu, "
    "fc100, relu, fc100, relu, softmax10",
    # His dropout of a layer drops what goes into it.
    "nielsen-dropout": "input 1x28x28, conv5-20, pool2, relu, conv5-40, pool2, relu, "
    "dropout0.5, fc1000, relu, dropout0.5, fc1000, relu, dropout0.5, softmax10",
    # Karpathy's demonstrations in the browser; the digits are cropped to 24x24.
    "convnetjs-cifar10": "input 3x32x32, conv5-16 pad2, relu, pool2, conv5-20 pad2, relu, pool2, "
    "conv5-20 pad2, relu, pool2, softmax10",
    "convnetjs-mnist": "input 1x24x24, conv5-8 pad2, relu, pool2, conv5-16 pad2, relu, pool3, softmax10",
    # Ours, for speed: a quarter of the arithmetic of the book's, its maps shrunk by the first filters.
    "fast-mnist": "input 1x28x28, conv4-24 stride3, relu, conv3-32, pool3 stride2, bn, relu, "
    "conv3-192, bn, relu, dropout0.3, softmax10",
}


@dataclass(frozen=True)
class Row:
    """One layer of a design at work on an input; it becomes one child of the module."""

    name: str
    """conv1, relu1, pool1, conv2, ... flatten, fc1, softmax."""
    layer: Layer
    input: Shape
    """(channels, height, width), or (length,) once flat."""
    output: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Design:
    """Layers in a row, and the input they are meant for where it is known. Equal designs, equal networks."""

    layers: tuple[Layer, ...]
    input: Input | None = None
    """(channels, height, width)."""

    def __post_init__(self) -> None:
        layers = _canonical(self.layers)
        for index, layer in enumerate(layers):
            if why := parts.fault(list(layers[:index]), layer):
                raise BadDesign(f"design, layers[{index}]: {why}")
        if not layers:
            raise BadDesign("design: no layers: write for example 'conv5-16 pad2, relu, pool2, softmax10'")
        object.__setattr__(self, "layers", layers)
        if self.input is not None:
            object.__setattr__(self, "input", _input(self.input))

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """One line that `parse` reads back as this very design."""
        return line.write(self.layers, self.input)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types that `from_json` reads back as this very design; usual values are left out."""
        layers = [{"layer": parts.kind(layer), **parts.settings(layer)} for layer in self.layers]
        return {"input": list(self.input), "layers": layers} if self.input else {"layers": layers}

    def walk(self, input: Input | None = None, floor: bool = False) -> Iterator[Row]:
        """Rows one by one, so that those before a failing layer are seen. Every step has one, implied or not.

        `input` (C, H, W) overrides the design's own. Raises DoesNotFit at the layer that does not fit
        (`floor` drops what is left over, as PyTorch does), BadDesign where no input is known.
        """
        shape: Shape = self.given(input)
        numbers: Counter[str] = Counter()
        for layer in self._plain():
            for step in (Flatten(), layer) if isinstance(layer, FC) and len(shape) == 3 else (layer,):
                name = _name(step, numbers)
                output = parts.output_shape(step, shape, name, floor)
                cost = parts.multiply_adds(step, shape, output)
                yield Row(name, step, shape, output, parts.parameters(step, shape), cost)
                shape = output

    def rows(self, input: Input | None = None, floor: bool = False) -> list[Row]:
        """All of `walk`, for a design that fits."""
        return list(self.walk(input, floor))

    def given(self, input: Input | None = None) -> Input:
        """The input that is asked for, or else the design's own. Raises BadDesign where neither is known."""
        if input is not None:
            return _input(input)
        if self.input is None:
            raise BadDesign(
                "design: its input is not known: begin it with 'input 3x32x32,' or give (3, 32, 32)"
            )
        return self.input

    @property
    def classes(self) -> int | None:
        """How many numbers come out of the fully connected end; None where the design ends otherwise."""
        last = self._last()
        return None if last is None else parts.settings(self.layers[last])["outputs"]

    def with_classes(self, classes: int) -> "Design":
        """The same design with its last layer's width replaced. Raises BadDesign where it has no such end."""
        last = self._last()
        if last is None:
            raise BadDesign(
                f"design: {self.text()!r} ends in no fully connected layer: add softmax{classes} to it"
            )
        layer = self.layers[last]
        assert isinstance(layer, FC | Softmax)
        changed = replace(layer, outputs=classes)
        return replace(self, layers=(*self.layers[:last], changed, *self.layers[last + 1 :]))

    def module(self, input: Input | None = None, floor: bool = False) -> "nn.Sequential":
        """(B, C, H, W) -> what the last layer gives; children named as in `walk`, weights anew (He et al.).

        Raises DoesNotFit naming the layer; `floor` builds what PyTorch would by dropping what is left over.
        """
        from striate.design.modules import build

        return build(self.rows(input, floor))

    def _plain(self) -> Iterator[Layer]:
        """The layers with softmax10 taken apart into fc10 and softmax."""
        for layer in self.layers:
            if isinstance(layer, Softmax) and layer.outputs is not None:
                yield FC(layer.outputs, layer.bias)
                yield Softmax()
            else:
                yield layer

    def _last(self) -> int | None:
        """Where the fully connected layer is that makes the answer: nothing with weights follows it."""
        for index in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[index]
            if isinstance(layer, FC) or (isinstance(layer, Softmax) and layer.outputs is not None):
                return index
            if not isinstance(layer, Activation | Dropout | Softmax):
                break
        return None


def parse(text: str) -> Design:
    """Text or a name in `NAMED` -> Design. Raises BadDesign pointing at the character, counted from 1."""
    layers, input = line.read(NAMED.get(text.strip().lower(), text))
    return Design(tuple(layers), None if input is None else _input(input))


def from_json(obj: Any) -> Design:
    """{"input": [C, H, W], "layers": [{"layer": "conv", "size": 5, "filters": 16}, ...]} -> Design.

    `input` and every field with a usual value may be left out. Raises BadDesign pointing at the field.
    """
    if not isinstance(obj, dict) or not isinstance(obj.get("layers"), list):
        raise BadDesign(
            'design: must be an object with a list: {"layers": [{"layer": "conv", "size": 5, ...}]}'
        )
    for key in obj.keys() - {"input", "layers"}:
        raise BadDesign(f"design, {key}: not a field of a design: there are input and layers")
    input = obj.get("input")
    if input is not None and not isinstance(input, list | tuple):
        raise BadDesign(f"design, input: must be [channels, height, width], not {input!r}")
    layers: list[Layer] = []
    for index, entry in enumerate(obj["layers"]):
        layer = _layer(entry, f"design, layers[{index}]")
        if why := parts.fault(layers, layer):
            raise BadDesign(f"design, layers[{index}]: {why}")
        layers.append(layer)
    return Design(tuple(layers), None if input is None else _input(input))


def from_module(module: "nn.Sequential", input: Input | None = None) -> Design:
    """Python layers -> Design. Raises BadDesign naming the layer that a design cannot say.

    Layers do not tell the height and width they are meant for: `input` (C, H, W) goes into the design. Raises
    BadDesign or DoesNotFit naming the layer that does not take what comes of it.
    """
    from striate.design.modules import read

    return Design(tuple(read(module, None if input is None else _input(input))), input)


def _layer(entry: Any, where: str) -> Layer:
    """One entry of the JSON's layers; `where` begins the error."""
    if not isinstance(entry, dict):
        raise BadDesign(f'{where}: must be an object such as {{"layer": "relu"}}, not {entry!r}')
    word = entry.get("layer")
    name = parts.ALIASES.get(word.lower(), word.lower()) if isinstance(word, str) else None
    if name not in parts.LAYERS:
        near = get_close_matches(str(word).lower(), parts.LAYERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(parts.LAYERS)}"
        raise BadDesign(f"{where}.layer: {word!r} is not a layer: {hint}")
    values = {key: value for key, value in entry.items() if key != "layer"}
    known = parts.field_names(name)
    for key, value in values.items():
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            takes = f"{name} has {', '.join(known)}" if known else f"{name} has no fields"
            raise BadDesign(f"{where}.{key}: not a field of {name}: {hint}{takes}")
        if value is None:
            raise BadDesign(f"{where}.{key}: must not be null: leave it out for its usual value")
    try:
        return parts.make(name, values)
    except parts.BadField as error:
        raise BadDesign(f"{where}.{error.field}: {error}") from None


def _canonical(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """`fc10, softmax` becomes softmax10; a flatten right before a fully connected layer goes."""
    kept: list[Layer] = []  # from the last to the first
    for layer in reversed(layers):
        after = kept[-1] if kept else None
        if isinstance(layer, FC) and after == Softmax():
            kept[-1] = Softmax(layer.outputs, layer.bias)
        elif not (
            isinstance(layer, Flatten) and isinstance(after, FC | Softmax) and after.outputs is not None
        ):
            kept.append(layer)
    return tuple(reversed(kept))


def _input(shape: Any) -> Input:
    """Three whole numbers of 1 or more. Raises BadDesign."""
    shape = tuple(shape)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= parts.MOST for n in shape)
    if len(shape) != 3 or not whole or math.prod(shape) > 2**31:
        raise BadDesign(
            f"design, input: must be channels, height and width, each 1 or more, not {list(shape)}"
        )
    return shape


def _name(layer: Layer, numbers: Counter[str]) -> str:
    """conv1, conv2, pool1, ...; what a network has only one of goes without a number: flatten, softmax."""
    name = {"avgpool": "pool"}.get(parts.kind(layer), parts.kind(layer))
    numbers[name] += 1
    single = name in ("flatten", "globalpool", "softmax") and numbers[name] == 1
    return name if single else f"{name}{numbers[name]}"
