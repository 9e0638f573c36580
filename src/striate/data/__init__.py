"""Data: from a name or a path to splits of pictures, and from those to a store and batches.

`open_data` finds and reads; `prepare.choose_prepare` decides how pictures become network input;
`store.decode` decodes them once; `augment` works on whole batches.
"""

from dataclasses import replace
from pathlib import Path

from striate.data.datasets import SETS, find
from striate.data.derived import DERIVED, derive
from striate.data.readers import READERS
from striate.data.readers.folders import is_picture
from striate.data.source import ImageFile, Source, Split
from striate.data.split import hold_out, split
from striate.errors import BadData

__all__ = ["SETS", "ImageFile", "Source", "Split", "find", "hold_out", "open_data", "split"]


def open_data(data: str | Path, download: bool = False, seed: int = 0, whole: bool = False) -> Source:
    """A named set, or a path whose format is recognised, with splits to train and evaluate on.

    A set without splits of its own gets them, stratified, by `seed`, unless it is wanted `whole`. Raises
    `BadData`: not there, or not recognised (the message lists what was looked for), or damaged.
    """
    if str(data) in DERIVED:
        return derive(str(data), open_data(DERIVED[str(data)], download))  # the same for every seed
    path = find(data, download)
    reader = next((reader for reader in READERS.values() if reader.recognise(path)), None)
    if reader is None and path.is_dir() and not any(is_picture(one.name) for one in path.rglob("*")):
        raise BadData(
            f"{path}: holds no pictures: give a folder with a folder of pictures for every class, or another "
            "of the formats that docs/data.md lists"
        )
    if reader is None:
        looked = "; ".join(reader.looks_for for reader in READERS.values())
        raise BadData(f"{path}: not a data set of a known format. Looked for: {looked}")
    source = reader.read(path)
    known = SETS.get(str(data))
    if known:
        source = replace(source, name=str(data), licence=known.licence)
    return source if whole else split(source, seed)
