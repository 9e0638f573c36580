"""The table of a network: a row for every layer that runs, with its arithmetic; and why one does not run.

`trace` takes any `nn.Module`, branches and functional code included, and runs it without values, so what the
table says is what PyTorch computes. A network that fails is reported up to the layer that fails, with the
failed arithmetic and the smallest edits that mend it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from striate.errors import BadSetting, DoesNotFit
from striate.tracing.kept import kept_bytes
from striate.tracing.mending import judge, mend
from striate.tracing.watching import Draft, Watch, on_meta


@dataclass(frozen=True)
class Row:
    """One run of one layer. Sizes and multiply-adds are for one picture, bytes for the whole batch."""

    name: str
    """As PyTorch names modules, `layer1.0.conv1`; functional code after where it stands and what it does."""
    kind: str
    """conv, pool, fc, relu, batchnorm, add, cat, ..."""
    output: tuple[int, ...]
    """(C, H, W) of a map, (length,) of a vector."""
    formula: str
    """`(32 − 5 + 2·2)/1 + 1 = 32` for convolutions and pools."""
    dot_product: str
    """`5·5·3 = 75 + bias`: what makes one number of the output."""
    parameters: int
    """0 where the weights were counted in an earlier row."""
    multiply_adds: int
    """Of convolutions and matrix products, for one picture."""
    forward_bytes: int
    """What the layer allocates for its output: 0 in place."""
    backward_bytes: int
    """What was made in this row and is kept until the backward pass."""
    receptive_field: tuple[int, int]
    """Pixels (rows, columns) of the input that one cell sees; the picture's size where it sees everything."""
    stride: tuple[float, float]
    """Pixels between neighbouring cells."""
    centre: tuple[float, float]
    """Where the centre of cell 0 lies, in pixels: the first pixel's is 0.5."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; one number where rows and columns are alike."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        for key in ("receptive_field", "stride", "centre"):
            values = plain[key]
            plain[key] = values[0] if values[0] == values[1] else values
        return plain


@dataclass(frozen=True)
class Table:
    """A network's layers, and its sums."""

    network: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    """Of the last row where the network failed."""
    parameters: int
    """Of the whole network, shared weights once, parts that did not run included (`idle`)."""
    multiply_adds: int
    rows: tuple[Row, ...]
    batch: int = 1
    idle: tuple[str, ...] = ()
    """Modules with weights that did not run, such as a classifier that only trains."""

    def __str__(self) -> str:
        """As `striate describe` prints it, with all columns."""
        from striate.tracing.columns import as_text

        return as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: what `striate describe --json` prints."""
        plain: dict[str, Any] = dict(vars(self)) | {"input": list(self.input), "output": list(self.output)}
        plain |= {"idle": list(self.idle), "layers": [row.to_dict() for row in self.rows]}
        del plain["rows"]
        return plain


class BrokenNetwork(DoesNotFit):
    """A network that does not run. The message is the failed arithmetic and the edits, in one line."""

    def __init__(self, reason: str, table: Table, fixes: Sequence[str]):
        advice = (
            f" What mends it: {'; '.join(fixes)}." if fixes else " No single edit that was tried mends it."
        )
        super().__init__(reason + advice)
        self.reason = reason
        """`fc1: expects 400 features, gets 576 = 16×6×6.`"""
        self.table = table
        """Up to the layer that failed."""
        self.fixes = tuple(fixes)
        """Edits, the smallest first, each of which was tried and makes the network run."""


def trace(
    module: nn.Module, input: Sequence[int] = (3, 32, 32), batch: int = 1, floor: bool = True, name: str = ""
) -> Table:
    """The table of `module` fed `batch` inputs of shape (C, H, W), in evaluation mode; nothing is computed.

    `floor=False` refuses convolutions and pools whose arithmetic is not whole, where PyTorch drops the rest.
    Raises BrokenNetwork (a DoesNotFit) with the table so far, the reason and what mends it, and BadSetting
    where `module` is only the name of one.
    """
    if isinstance(module, str):
        raise BadSetting(f"trace: takes a network, not its name: striate.network({module!r}) makes it.")
    net = on_meta(module).eval()
    watch = Watch(floor)
    fits = watch.run(net, input, batch)
    table = _table(net, watch, tuple(input), batch, name or type(module).__name__, fits)
    if not fits:
        assert watch.failure is not None
        raise BrokenNetwork(str(watch.failure), table, mend(net, tuple(input), batch, floor, watch))
    return table


def smallest_input(module: nn.Module, channels: int = 3, floor: bool = True, most: int = 1024) -> int:
    """The smallest n for which `module` takes (channels, n, n).

    Raises DoesNotFit where no n up to `most` works.
    """
    net = on_meta(module).eval()

    def small(n: int) -> bool:
        return judge(net, (channels, n, n)) == "small"

    low = high = 1
    while high < most and small(high):
        low, high = high + 1, min(2 * high, most)
    while low < high:  # what is too small for PyTorch's own rounding is too small without it
        middle = (low + high) // 2
        low, high = (middle + 1, high) if small(middle) else (low, middle)
    for n in range(low, most + 1):
        verdict = judge(net, (channels, n, n), floor)
        if verdict == "fits":
            return n
        if verdict == "large":
            break
    watch = Watch(floor, notes=False)
    watch.run(net, (channels, low, low), 1)
    raise DoesNotFit(
        f"no input of {channels}×n×n fits, for n up to {most}. At {channels}×{low}×{low}: {watch.failure}"
    )


def _table(net: nn.Module, watch: Watch, shape: tuple[int, ...], batch: int, name: str, fits: bool) -> Table:
    kept = kept_bytes(net, shape, batch) if fits else Counter()
    seen: Counter[str] = Counter()
    rows = []
    for draft in watch.rows:
        rows.append(_row(draft, batch, kept[draft.name, seen[draft.name]], shape))
        seen[draft.name] += 1
    output = tuple(watch.outputs[0].shape[1:]) if watch.outputs else rows[-1].output if rows else shape
    sums = sum(weight.numel() for weight in net.parameters()), sum(row.multiply_adds for row in rows)
    idle = _idle(net, watch) if fits else ()
    return Table(name, shape, output, *sums, tuple(rows), batch, idle)


def _row(draft: Draft, batch: int, kept: int, shape: tuple[int, ...]) -> Row:
    pixels = shape[1:3] if len(shape) == 3 else (1, 1)
    axes = draft.sight or ()
    fields = [
        (pixels[i] if axis.whole else axis.field.size, axis.field.stride, axis.field.start)
        for i, axis in enumerate(axes)
    ]
    (rows, down, top), (columns, across, left) = fields or [(pixels[0], 1, 0.5), (pixels[1], 1, 0.5)]
    return Row(
        draft.name, draft.kind, draft.output, draft.formula, draft.dot, draft.parameters,
        draft.multiply_adds // batch, draft.bytes, kept, (rows, columns), (down, across), (top, left),
    )  # fmt: skip


def _idle(net: nn.Module, watch: Watch) -> tuple[str, ...]:
    """The outermost modules none of whose weights were counted."""
    found: list[str] = []
    for name, part in net.named_modules():
        weights = {id(weight) for weight in part.parameters()}
        if (
            weights
            and not weights & watch.counted
            and not any(name.startswith(f"{outer}.") for outer in found)
        ):
            found.append(name)
    return tuple(found)
