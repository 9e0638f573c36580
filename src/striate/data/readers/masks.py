"""Pictures and their masks in two folders: a mask has its picture's name, and class numbers for pixels.

    train/images/a.jpg  train/masks/a.png      images/train/a.jpg  masks/train/a.png
    images/a.jpg  masks/a.png                  train/a.png  trainannot/a.png

`classes.txt` beside them names the classes, one a line from number 0; a class called `unlabelled`, `void` or
`ignore` counts for nothing. Masks with colours need `class_dict.csv`, a line `name,r,g,b` for every class.
Pascal VOC's palette files are class numbers too, 255 for the outlines.
"""

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from striate.data.masks import IGNORED, MOST, MaskFile
from striate.data.readers.folders import is_picture
from striate.data.readers.labels import SPLITS, text_of
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData

PICTURES = ("images", "image", "img", "imgs", "jpegimages")
MASKS = ("masks", "mask", "segmentationclass", "annotations", "labels", "annot", "gt")
MASK_FILES = (".png", ".bmp", ".tif", ".tiff", ".gif")
NO_CLASS = ("unlabelled", "unlabeled", "void", "ignore", "ignored")
NAMES = ("classes.txt", "labels.txt", "class_dict.csv")

Pair = tuple[str, Path, Path]
"""(split, folder of pictures, folder of masks)."""


def recognise(path: Path) -> bool:
    """A folder of pictures beside one of masks, in one of the arrangements above."""
    return path.is_dir() and bool(_pairs(path))


def read(path: Path) -> Source:
    """The splits found, or `all`, with one mask a picture.

    Raises:
        BadData: a split without a single picture that has a mask, or a table of classes that makes no sense.
    """
    names, colours = _classes(path)
    ignored = frozenset(i for i, name in enumerate(names) if name.lower() in NO_CLASS)
    while names and len(names) - 1 in ignored:
        names = names[:-1]
    if any(i < len(names) for i in ignored):
        raise BadData(
            f"{path}: {names[min(ignored)]!r} stands for no class and must be the last in the list, or 255"
        )
    ignored |= {IGNORED}
    splits, warnings = {}, []
    for split, pictures, masks in _pairs(path):
        found, lines = _matched(path, pictures, masks)
        warnings += lines
        files = [MaskFile(mask, len(names) or None, ignored, colours) for _, mask in found]
        splits[split] = Split([picture for picture, _ in found], {"mask": files})
    if not names:
        names = _counted(splits)
        for split in splits.values():
            known = [MaskFile(mask.file, len(names), ignored) for mask in split.targets["mask"]]
            split.targets["mask"] = known
    return Source(path.resolve().name, path, "pictures and masks", splits, tuple(names), warnings=warnings)


def _pairs(path: Path) -> list[Pair]:
    """The splits and their folders, train first."""
    folders = {entry.name.lower(): entry for entry in sorted(path.iterdir()) if entry.is_dir()}
    found: list[Pair] = []
    pictures, masks = _first(folders, PICTURES), _first(folders, MASKS)
    if pictures and masks:
        inside = {entry.name: entry for entry in sorted(pictures.iterdir()) if entry.is_dir()}
        nested = [(SPLITS[n.lower()], inside[n], masks / n) for n in inside if n.lower() in SPLITS]
        found = nested or [("all", pictures, masks)]
    for name, folder in folders.items():
        if name in SPLITS:
            below = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
            pictures, masks = _first(below, PICTURES), _first(below, MASKS)
            if pictures and masks:
                found.append((SPLITS[name], pictures, masks))
            elif f"{name}annot" in folders:
                found.append((SPLITS[name], folder, folders[f"{name}annot"]))
    found = [pair for pair in found if pair[2].is_dir() and _holds_masks(pair[2])]
    first = {pair[0]: pair for pair in reversed(found)}
    return [first[split] for split in ("train", "val", "test", "all") if split in first]


def _first(folders: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _holds_masks(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(MASK_FILES) for entry in entries)


def _matched(path: Path, pictures: Path, masks: Path) -> tuple[list[tuple[ImageFile, ImageFile]], list[str]]:
    """Pictures with the masks of their names, and a warning for those without."""
    by_stem = {file.stem: file for file in sorted(masks.iterdir()) if file.name.lower().endswith(MASK_FILES)}
    found, alone = [], []
    for file in sorted(pictures.iterdir()):
        if file.name.startswith(".") or not is_picture(file.name):
            continue
        mask = next(
            (by_stem[s] for s in (file.stem, f"{file.stem}_mask", f"{file.stem}_L") if s in by_stem), None
        )
        if mask is None:
            alone.append(file)
        else:
            found.append((_named(path, file), _named(path, mask)))
    if not found:
        raise BadData(f"{pictures}: no picture has a mask of its name in {masks} (picture a.jpg, mask a.png)")
    left_out = (
        f"{len(alone)} pictures without a mask in {masks} are left out: {alone[0].name}" if alone else ""
    )
    return found, [f"{left_out}, ..." if len(alone) > 1 else left_out] if alone else []


def _named(path: Path, file: Path) -> ImageFile:
    return ImageFile(file.relative_to(path).as_posix(), file)


def _classes(path: Path) -> tuple[list[str], tuple[tuple[int, int, int], ...]]:
    """(names, their colours where masks have colours); empty where no file names them."""
    file = next((path / name for name in NAMES if (path / name).is_file()), None)
    if file is None:
        return [], ()
    lines = [line.strip() for line in text_of(file).splitlines() if line.strip()]
    if file.suffix == ".txt":
        names, colours = lines, ()
    else:
        names, colours = _coloured(file, lines)
    if len(names) > MOST or len(set(names)) < len(names):
        raise BadData(f"{file}: names {len(names)} classes: at most {MOST}, and no two alike")
    return names, colours


def _coloured(file: Path, lines: list[str]) -> tuple[list[str], tuple[tuple[int, int, int], ...]]:
    names, colours = [], []
    for number, row in enumerate(csv.reader(lines), 1):
        cells = [cell.strip() for cell in row]
        if number == 1 and not cells[-1].isdigit():
            continue
        if len(cells) != 4 or not all(cell.isdigit() and int(cell) < 256 for cell in cells[1:]):
            raise BadData(f"{file}, line {number}: {','.join(row)}: write name,r,g,b")
        names.append(cells[0])
        colours.append((int(cells[1]), int(cells[2]), int(cells[3])))
    return names, tuple(colours)


def _counted(splits: dict[str, Split]) -> list[str]:
    """Classes named by number, as many as the masks of all splits use."""
    files = [mask for split in splits.values() for mask in split.targets["mask"]]

    def largest(mask: MaskFile) -> int:
        pixels = mask.read()
        pixels = pixels[pixels != IGNORED]
        return int(pixels.max()) if pixels.size else 0

    with ThreadPoolExecutor() as pool:
        return [str(number) for number in range(max(pool.map(largest, files)) + 1)]
