"""Batches for training: every batch is a pure function of the seed, the epoch and its number.

So a run that was killed goes on from any step without replaying what came before it, and N processes
agree on the order without talking to each other.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from striate.data.augment import Warp, components, draw_colours, draw_warp, normalise, resize, warp
from striate.data.prepare import Prepare
from striate.data.reuse import Arrays
from striate.data.stream import Pictures


def seed_of(*numbers: int) -> int:
    """63 bits mixed from `numbers`: neighbouring seeds, epochs and steps give unrelated streams."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass
class Loader:
    """A store's pictures in shuffled batches, augmented and normalised as a whole, on the device.

    Every picture is seen once an epoch: the batches differ in size by one at most, so the last is never a
    tiny one. With several processes each takes its slice of every batch, and a streamed store decodes no more
    than that; it is told of the next batches early, so that they are decoded while this one is learned.
    """

    store: Pictures
    prepare: Prepare
    size: int
    """Pictures in a batch, over all processes, at most."""
    seed: int
    shift: int = 0
    flip: bool = False
    alternate: bool = False
    """Which pictures are mirrored changes every epoch from one half to the other."""
    area: float = 1.0
    """The smallest share of the picture that a crop shows; 1 crops nothing."""
    colour: float = 0.0
    """How much of the pictures' principal colours is added or taken away; 0 leaves them."""
    channels_last: bool = True
    device: torch.device = torch.device("cpu")
    move: Callable[[dict[str, Any], Any], dict[str, Any]] = lambda target, _: target
    """Task.move: what the augmentation does to the target."""
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        self._memory = Arrays()
        self.per_epoch = -(-len(self.store) // self.size)
        generator = torch.Generator().manual_seed(self.seed)
        self._mirrored = torch.rand(len(self.store) * self.alternate, generator=generator) < 0.5
        if self.colour:
            std = torch.tensor(self.prepare.std or (1.0,) * self.prepare.channels)
            self._colours = (components(self.store.sample()).cpu() / std[:, None]).to(self.device)

    def order(self, epoch: int) -> Tensor:
        """The shuffled picture numbers of an epoch, int64 (N,)."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        return torch.randperm(len(self.store), generator=generator)

    def _bounds(self, number: int) -> tuple[int, int]:
        """Where batch `number` begins and ends in the order: the same for any number of processes."""
        n = len(self.store)
        return number * n // self.per_epoch, (number + 1) * n // self.per_epoch

    def _mine(self, total: int) -> slice:
        """This process's part of a batch of `total` pictures."""
        return slice(self.rank * total // self.world, (self.rank + 1) * total // self.world)

    def _rows(self, order: Tensor, number: int) -> Tensor:
        """The numbers of this process's pictures in a batch, int64 (B,)."""
        start, stop = self._bounds(number)
        return order[start:stop][self._mine(stop - start)]

    def _announce(self, order: Tensor, epoch: int, number: int) -> None:
        """Tell the store of a batch and of those after it, of the next epoch too."""
        if not self.store.lead:
            return  # nothing is drawn for a store that has every picture already
        for later in range(number, number + 1 + self.store.lead):
            which, place = divmod(epoch * self.per_epoch + later, self.per_epoch)
            if which > epoch and place == 0:
                order = self.order(which)
            self.store.ahead(self._rows(order, place), self._drawn(order, which, place))

    def _drawn(self, order: Tensor, epoch: int, number: int) -> Warp | None:
        """What `batch` will draw for this process's pictures, where the store can use it."""
        if not (self.store.crops and self.area < 1):
            return None
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, number))
        start, stop = self._bounds(number)
        return self._draw(order[start:stop], epoch, generator).rows(self._mine(stop - start))

    def _draw(
        self,
        rows: Tensor,
        epoch: int,
        generator: torch.Generator | None = None,
        device: str | torch.device = "cpu",
    ) -> Warp:
        """What happens to a whole batch, the pictures `rows`."""
        drawn = draw_warp(len(rows), self.prepare, self.shift, self.flip, generator, device, self.area)
        if not (self.flip and self.alternate):
            return drawn
        return replace(drawn, flip=(self._mirrored[rows] ^ bool(epoch % 2)).to(device, non_blocking=True))

    def weight(self, number: int) -> float:
        """What this process's mean loss must count for, so that the mean over processes is the batch's."""
        start, stop = self._bounds(number)
        mine = self._mine(stop - start)
        return (mine.stop - mine.start) * self.world / (stop - start)

    def batch(
        self, order: Tensor, epoch: int, number: int, scale: float = 1.0
    ) -> tuple[Tensor, dict[str, Any]]:
        """Batch `number` of an epoch with `order`: float32 (B, C, H, W) times `scale`, and its target.

        Seeds the global generators, so that the dropout that follows is a function of the step too.
        """
        start, stop = self._bounds(number)
        mine = self._mine(stop - start)
        self._announce(order, epoch, number)
        cropped = self._drawn(order, epoch, number)
        images, target = self.store.batch(self._rows(order, number), cropped)
        self._sow(epoch, number)
        n = stop - start
        drawn = replace(self._draw(order[start:stop], epoch, device=self.device), scale=scale)
        colours = draw_colours(n, self._colours, self.colour)[mine] if self.colour else None
        if self.world > 1:
            drawn = drawn.rows(mine)
            self._sow(epoch, number, self.rank)
        images = images.to(self.device, non_blocking=True)
        if cropped is None:
            images = warp(images, drawn, self.prepare)
        images = resize(images, scale)
        target = self.move(to_device(target, self.device), drawn)
        with one_thread() if self.store.lead else nullcontext():
            x = normalise(images, self.prepare, layout(self.channels_last), self._memory)
        if colours is not None:
            x += colours[:, :, None, None]
        return x, target

    def _sow(self, *numbers: int) -> None:
        """Seed the global generators that the device draws from."""
        seed = seed_of(self.seed, *numbers)
        # torch.manual_seed takes 0.2 ms: a stack trace for each kind of device that is not there.
        sow = (
            torch.default_generator.manual_seed if self.device.type in ("cpu", "cuda") else torch.manual_seed
        )
        sow(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seed)


@contextmanager
def one_thread() -> Generator[None]:
    """Keep PyTorch's own threads away while others decode: both would wait for turns on a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def layout(channels_last: bool) -> torch.memory_format:
    """How a batch lies in memory."""
    return torch.channels_last if channels_last else torch.contiguous_format


def to_device(target: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """A target's tensors, in lists too, on the device."""

    def there(value: Any) -> Any:
        if isinstance(value, Tensor):
            # Towards the CPU it would be read before it is there.
            return value.to(device, non_blocking=device.type != "cpu")
        return [there(v) for v in value] if isinstance(value, list) else value

    return {key: there(value) for key, value in target.items()}
