"""From JPEG files to training batches at 224: torchvision's usual pipeline beside ours, in one run.

    python benchmarks/input.py [--pictures FOLDER] [--count 512] [--rounds 7] [--workers 2] [--batch 64]

The peer is `ImageFolder` with `RandomResizedCrop(224)`, `RandomHorizontalFlip`, `ToTensor`, `Normalize` and a
`DataLoader` of two worker processes. Ours reads the same files with as many threads and makes the same kind
of batch: a random crop of 8 to 100 % of the picture's central part, 3:4 to 4:3, scaled to 224×224, perhaps
mirrored, float32, normalised, channels last. Streamed, from a folder, a zip and tar shards, nothing is kept;
decoded once, the first epoch includes the decoding.

Pictures are spread over ten classes by number and repeated by links up to `--count`. The ways take turns of
three epochs (one, where it is the first that counts) in changing order; the first round warms up. A stream is
new in every turn, so that nothing is decoded before the clock starts. The ratio is the median of the rounds'
ratios.
"""

import argparse
import os
import random
import statistics
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import PIL.features
import PIL.Image
import torch
import torchvision
from torchvision import transforms
from torchvision.datasets import ImageFolder

from striate.data import Source, Split, find
from striate.data.loader import Loader
from striate.data.prepare import Prepare
from striate.data.readers import READERS
from striate.data.store import decode
from striate.data.stream import Stream
from striate.models.published import MEAN, STD

PREPARE = Prepare((224, 224), 3, MEAN, STD, margin=28)

EPOCHS = 3
"""In a turn."""

Epoch = Callable[[], int]
"""Makes every batch of an epoch; returns how many pictures were in them."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pictures", default="hymenoptera", help="a folder with JPEGs, or one under STRIATE_DATA"
    )
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = class_folders(find(chosen.pictures), Path(scratch) / "folder", chosen.count)
        ways = {"ImageFolder + DataLoader": peer(folder, chosen.batch, chosen.workers)} | ours(
            folder, chosen.batch, chosen.workers
        )
        measured = in_turns(ways, chosen.rounds)
        describe(folder, chosen)
        table(measured)


def class_folders(pictures: Path, folder: Path, count: int) -> Path:
    """Ten folders of links to the JPEGs below `pictures`, again and again until there are `count`."""
    files = sorted(p.resolve() for p in pictures.rglob("*.jpg"))
    for i in range(count):
        place = folder / f"class{i % 10}" / f"{i:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(files[i % len(files)])
    return folder


def zipped(folder: Path) -> Path:
    """The same as a zip, members stored as they are."""
    path = folder.with_name("pictures.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def sharded(folder: Path, shards: int = 4) -> Path:
    """The same as tar shards in WebDataset's layout."""
    out = folder.with_name("shards")
    out.mkdir()
    files = sorted(folder.rglob("*.jpg"))
    for number in range(shards):
        with tarfile.open(out / f"{number:06d}.tar", "w") as archive:
            for file in files[number::shards]:
                for suffix, data in ((".jpg", file.read_bytes()), (".cls", file.parent.name.encode())):
                    member = tarfile.TarInfo(file.stem + suffix)
                    member.size = len(data)
                    archive.addfile(member, BytesIO(data))
    return out


def peer(folder: Path, batch: int, workers: int) -> Epoch:
    """The pipeline of torchvision's reference training, its workers kept from epoch to epoch."""
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    data = ImageFolder(folder, transforms.Compose([*steps, transforms.Normalize(MEAN, STD)]))
    loader = torch.utils.data.DataLoader(
        data, batch, shuffle=True, num_workers=workers, persistent_workers=True
    )
    return lambda: sum(len(images) for _ in range(EPOCHS) for images, _ in loader)


def ours(folder: Path, batch: int, workers: int) -> dict[str, Epoch]:
    """Every way of ours, by name."""
    files = {"folder": folder, "zip": zipped(folder), "tar shards": sharded(folder)}
    splits = {name: opened(path).splits["all"] for name, path in files.items()}
    ways: dict[str, Epoch] = {}
    for name, split in splits.items():
        ways[f"{name}, streamed"] = streamed(split, batch, workers)
    once = Loader(decode(splits["folder"], PREPARE), **asked(batch))
    again = epochs(once)

    def first() -> int:
        with decode(splits["folder"], PREPARE) as store:
            return epochs(replace(once, store=store))()

    return ways | {
        "folder, decoded once: first epoch": first,
        "later epochs": lambda: sum(again() for _ in range(EPOCHS)),
    }


def streamed(split: Split, batch: int, workers: int) -> Epoch:
    """Epochs of a stream that is new in every turn."""

    def turn() -> int:
        with Stream(split, PREPARE, threads=workers) as stream:
            epoch = epochs(Loader(stream, **asked(batch)))
            return sum(epoch() for _ in range(EPOCHS))

    return turn


def opened(path: Path) -> Source:
    """What the first reader that knows the format finds, not split."""
    return next(reader for reader in READERS.values() if reader.recognise(path)).read(path)


def asked(batch: int) -> dict:
    """The augmentation of torchvision's reference training, in our words."""
    return {"prepare": PREPARE, "size": batch, "seed": 0, "area": 0.08, "flip": True}


def epochs(loader: Loader) -> Epoch:
    """An epoch of a loader, another one at every call."""
    numbers: Iterator[int] = iter(range(1_000_000))

    def epoch() -> int:
        which = next(numbers)
        order = loader.order(which)
        return sum(len(loader.batch(order, which, number)[0]) for number in range(loader.per_epoch))

    return epoch


def in_turns(ways: dict[str, Epoch], rounds: int) -> dict[str, list[float]]:
    """Pictures a second of every way in every round but the first."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    shuffle = random.Random(0)
    for number in range(rounds + 1):
        for name in shuffle.sample(list(ways), len(ways)):
            began = time.perf_counter()
            count = ways[name]()
            if number:
                speeds[name].append(count / (time.perf_counter() - began))
    return speeds


def describe(folder: Path, chosen: argparse.Namespace) -> None:
    """What was measured, with what."""
    sizes = sorted(PIL.Image.open(file).size for file in folder.rglob("*.jpg"))
    wide, high = sizes[len(sizes) // 2]
    print(
        f"{len(sizes)} JPEGs, the median {wide}×{high}; batch {chosen.batch}, {chosen.workers} workers or "
        f"threads, {chosen.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    libjpeg = PIL.features.version("libjpeg_turbo")
    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__} "
        f"(libjpeg-turbo {libjpeg})\n"
    )


def table(speeds: dict[str, list[float]]) -> None:
    """Markdown: the median and range of each way, and the median of its ratios to the first."""
    base = next(iter(speeds.values()))
    print("| input | images/s | lowest to highest | ratio |\n|---|---|---|---|")
    for name, found in speeds.items():
        ratio = statistics.median(one / other for one, other in zip(found, base, strict=True))
        middle, spread = statistics.median(found), f"{min(found):.0f} to {max(found):.0f}"
        print(f"| {name} | {middle:.0f} | {spread} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
