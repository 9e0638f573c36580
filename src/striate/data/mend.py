"""A copy of a data set without what the doctor found: class folders, files byte for byte.

The original is never touched. Unreadable files are left out; of pictures with the same pixels one stays, and
across splits it is the copy in the training split that goes, so that a test split stays what it was. Labels
are never changed: doubts are listed in `review.csv`.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from striate.data.doctor import Examination, Member, labels_of, names_of, rows_kept, same_pixels
from striate.data.picture import encoded
from striate.data.source import Source, Split
from striate.data.store import Store
from striate.errors import BadData

KEEP_FIRST = ("test", "val", "train", "all")
"""Of copies in several splits, the one in the earliest of these stays."""


def mend(
    source: Source,
    stores: dict[str, Store],
    report: Examination,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write the mended copy to `out`; returns {"written", "left_out", "to_review"}.

    Raises:
        BadData: `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadData(f"{out}: is not empty: name a folder that does not exist yet.")
    dropped = _copies(stores)
    total, written = sum(map(len, stores.values())), 0
    names = [_folder_name(name) for name in names_of(source)]
    for split, store in stores.items():
        rows, labels = rows_kept(source.splits[split], store), labels_of(store)
        for name in names:
            (out / split / name).mkdir(parents=True, exist_ok=True)
        for place, row in enumerate(rows):
            if (split, place) not in dropped:
                _write(source.splits[split], row, out / split / names[labels[place]])
                written += 1
                if progress is not None:
                    progress(written, total)
    unreadable = sum(len(store.left_out) for store in stores.values())
    return {
        "written": written,
        "left_out": len(dropped) + unreadable,
        "to_review": _review(source, stores, report, out),
    }


def _copies(stores: dict[str, Store]) -> set[Member]:
    """Every picture that is a copy of one that stays."""
    dropped = set()
    for group in same_pixels(stores):
        ranked = sorted(group, key=lambda member: (KEEP_FIRST.index(member[0]), member[1]))
        dropped.update(ranked[1:])
    return dropped


def _write(split: Split, row: int, folder: Path) -> None:
    """A file as it is, an array as PNG; a name that is taken gets the row's number behind it."""
    if isinstance(split.images, np.ndarray):
        pixels = split.images[row]
        image = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{row:06d}.png")
        return
    file = split.images[row]
    path = folder / Path(file.name).name
    if path.exists():
        path = path.with_name(f"{path.stem}-{row}{path.suffix}")
    path.write_bytes(encoded(file))


def _review(source: Source, stores: dict[str, Store], report: Examination, out: Path) -> int:
    """List the labels to look at; returns how many."""
    names, lines = names_of(source), []
    for finding in (f for f in report.findings if f.kind == "label"):
        labels = labels_of(stores[finding.split])
        for file, row, looks in zip(finding.files, finding.rows, finding.suggested, strict=True):
            lines.append([finding.split, file, names[labels[row]], looks])
    with open(out / "review.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["split", "file", "label", "looks like"], *lines])
    return len(lines)


def _folder_name(name: str) -> str:
    """A class name as a folder: no way out of `out`, whatever the class is called."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "_"
