"""A design's line of text: layers between commas, each a name, its numbers, then options.

    input 3x32x32, conv5-16 stride1 pad2, relu, pool2, dropout0.5, softmax10

Case and spaces do not matter; `5x5` and `5×5` say 5. Every error gives the character, counted from 1.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn

from striate.design import layers as parts
from striate.design.layers import BadField, Layer
from striate.errors import BadDesign

TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?)"
    r"|(?P<word>relu6(?![0-9.])|[a-z]+)"
    r"|(?P<sign>[-–=×*])"
    r"|(?P<space>\s+)",
    re.IGNORECASE | re.ASCII,
)
OPTIONS = {"padding": "pad", "strides": "stride", "group": "groups", "negativeslope": "slope"}
SWITCHES = {"nobias": ("bias", False), "ceil": ("ceil", True), "padsame": ("pad", "same")}


@dataclass(frozen=True)
class Token:
    """A word, number or sign, and its place in the text, from 0."""

    kind: str
    text: str
    place: int


class Element:
    """What stands between two commas, read from left to right."""

    def __init__(self, text: str, start: int, end: int):
        self.whole, self.start, self.end = text, start, end
        self.tokens = list(self._tokens())
        self.next = 0
        self.places: dict[str, int] = {}  # field -> where its value stands
        self.values: dict[str, Any] = {}

    def _tokens(self) -> Iterator[Token]:
        place = self.start
        while place < self.end:
            match = TOKEN.match(self.whole, place, self.end)
            if match is None:
                self.fail(place, f"{self.whole[place]!r} means nothing here")
            if match.lastgroup != "space":
                yield Token(str(match.lastgroup), match[0].lower(), place)
            place = match.end()

    def fail(self, place: int, message: str) -> NoReturn:
        raise BadDesign(f"design, character {place + 1}: {message}")

    def peek(self, kind: str, *texts: str) -> Token | None:
        """The next token, where it is of this kind (and one of these texts)."""
        if self.next < len(self.tokens):
            token = self.tokens[self.next]
            if token.kind == kind and (not texts or token.text in texts):
                return token
        return None

    def take(self, kind: str, *texts: str) -> Token | None:
        """As `peek`, and moves on."""
        token = self.peek(kind, *texts)
        self.next += token is not None
        return token

    def chunk(self, place: int) -> str:
        """The text from `place` to the next space or comma, as it was typed."""
        return re.split(r"[\s,]", self.whole[place : self.end], maxsplit=1)[0]

    def keep(self, field: str, value: Any, place: int) -> None:
        if field in self.values:
            self.fail(place, f"{field} is given twice")
        self.values[field], self.places[field] = value, place

    def times(self) -> Token | None:
        """The × of 5×5, however typed."""
        return self.take("word", "x") or self.take("sign", "×", "*")


def read(text: str) -> tuple[list[Layer], tuple[int, ...] | None]:
    """Text -> layers and input. Raises BadDesign pointing at the character."""
    layers: list[Layer] = []
    input, start = None, 0
    if not text.strip():
        return [], None
    for number, piece in enumerate(text.split(",")):
        element = Element(text, start, start + len(piece))
        start += len(piece) + 1
        if not element.tokens:
            element.fail(min(element.end, len(text) - 1), "a layer is missing at this comma")
        first = element.tokens[0]
        if first.text == "input":
            if number:
                element.fail(first.place, "the input comes first, before every layer")
            input = _input(element)
            continue
        layer = _layer(element)
        if why := parts.fault(layers, layer):
            element.fail(first.place, why)
        layers.append(layer)
    return layers, input


def _input(element: Element) -> tuple[int, ...]:
    """`input 3x32x32`."""
    first = element.tokens[0]
    element.next, shape = 1, []
    while number := element.take("number"):
        shape.append(_value(number.text))
        if not element.times():
            break
    good = all(isinstance(n, int) and 1 <= n <= parts.MOST for n in shape)
    if len(shape) != 3 or not good or element.next < len(element.tokens):
        typed = element.whole[first.place : element.end].strip()
        element.fail(first.place, f"{typed!r} is not channels×height×width: write for example input 3x32x32")
    return tuple(shape)


def _layer(element: Element) -> Layer:
    """One element -> one layer."""
    first = element.tokens[0]
    name = _name(element)
    _head(element, name)
    while element.next < len(element.tokens):
        _option(element, name)
    try:
        return parts.make(name, element.values)
    except BadField as error:
        element.fail(element.places.get(error.field, first.place), str(error))


def _name(element: Element) -> str:
    """The layer's name, of one word or two (`max pool`)."""
    first = element.take("word")
    if first is None:
        place = element.tokens[0].place
        element.fail(place, f"{element.chunk(place)!r} does not begin with a layer's name")
    known = parts.ALIASES | {name: name for name in parts.LAYERS}
    second = element.peek("word")
    if second and first.text + second.text in known:
        element.next += 1
        return known[first.text + second.text]
    if first.text in known:
        return known[first.text]
    chunk, near = element.chunk(first.place), get_close_matches(first.text, known, n=1)
    hint = (
        f"did you mean {near[0]}{chunk[len(first.text) :]}?"
        if near
        else f"there are {', '.join(parts.LAYERS)}"
    )
    element.fail(first.place, f"{chunk!r} is not a layer: {hint}")


def _head(element: Element, name: str) -> None:
    """The numbers that follow the name at once: 5-16 of a convolution, 2 of a pool, 0.5 of dropout."""
    head = parts.LAYERS[name].HEAD
    number = element.take("number")
    if number is None:
        return
    if not head or (name in parts.ACTIVATIONS and parts.ACTIVATIONS[name] is None):
        element.fail(number.place, f"{name} takes no number")
    element.keep(head[0], _value(number.text), number.place)
    if head[0] == "size" and element.times():
        other = element.take("number")
        if other is None or _value(other.text) != element.values["size"]:
            element.fail(number.place, "filters and windows are square in a design: 5x5, not 5x3")
    if len(head) > 1 and element.take("sign", "-", "–"):
        filters = element.take("number")
        if filters is None:
            element.fail(number.place, f"the number of {head[1]} is missing after the dash: {name}5-16")
        element.keep(head[1], _value(filters.text), filters.place)


def _option(element: Element, name: str) -> None:
    """`stride2`, `pad same`, `nobias`: a word, and for most a number."""
    token = element.tokens[element.next]
    options = [field for field in parts.field_names(name) if field not in parts.LAYERS[name].HEAD]
    words = [next((w for w in ("nobias", "ceil") if SWITCHES[w][0] == field), field) for field in options]
    word = OPTIONS.get(token.text, token.text)
    field, value = SWITCHES.get(word, (word, None))
    if token.kind != "word" or field not in options or word == "bias":
        chunk = element.chunk(token.place)
        near = get_close_matches(token.text, words, n=1)
        there = f"there are {', '.join(words)}" if words else "it has none"
        hint = ""
        if token.text in parts.ALIASES or token.text in parts.LAYERS:
            hint = "put a comma before another layer; "
        elif near:
            rest = "" if near[0] in SWITCHES else chunk[len(token.text) :]
            hint = f"did you mean {near[0]}{rest}? "
        element.fail(token.place, f"{chunk!r} is not an option of {name}: {hint}{there}")
    element.next += 1
    if value is None:
        element.take("sign", "=")
        same = element.take("word", "same") if field == "pad" else None
        number = same or element.take("number")
        if number is None:
            element.fail(token.place, f"{word} needs a number: {word}1")
        value = number.text if same else _value(number.text)
    element.keep(field, value, token.place)


def _value(text: str) -> int | float:
    """Digits as a whole number, all else as a float; at worst infinity, which every field refuses."""
    return int(text) if text.isdigit() and len(text) < 16 else float(text)


def write(layers: Sequence[Layer], input: Sequence[int] | None) -> str:
    """The canonical text."""
    elements = [f"input {'x'.join(map(str, input))}"] if input else []
    for layer in layers:
        given, head = parts.settings(layer), layer.HEAD
        if isinstance(layer, parts.Dropout | parts.LRN):  # say what is usual too
            given = {head[0]: getattr(layer, head[0])} | given
        text = parts.kind(layer) + "-".join(_typed(given[field]) for field in head if field in given)
        for field, value in given.items():
            if field not in head:
                switch = next((word for word, means in SWITCHES.items() if means == (field, value)), None)
                text += f" {switch or field + _typed(value)}"
        elements.append(text)
    return ", ".join(elements)


def _typed(value: float) -> str:
    """The shortest text that reads back as this number: 2, 0.5, 1e-05."""
    return str(value).removesuffix(".0")
