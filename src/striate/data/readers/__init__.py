"""One file per on-disk format: `recognise(path) -> bool` (cheap, decodes nothing) and `read(path) -> Source`.

A new format is one file here and one line in the table. The first reader that recognises a path reads it, so
formats with files of their own come before plain folders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from striate.data.readers import (
    archive,
    cifar,
    coco,
    csv,
    csv_boxes,
    digits,
    folders,
    idx,
    lsp,
    masks,
    tar,
    voc,
    yolo,
)
from striate.data.source import Source


@dataclass(frozen=True)
class Reader:
    """A format: what it is called and looks like in a message, and its two functions."""

    looks_for: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], Source]


READERS: dict[str, Reader] = {
    "digits": Reader("scikit-learn's digits.csv.gz", digits.recognise, digits.read),
    "IDX": Reader("IDX files (train-images-idx3-ubyte[.gz], ...)", idx.recognise, idx.read),
    "CIFAR": Reader(
        "CIFAR-10 or -100 (cifar-10-python.tar.gz, data_batch_1[.bin], ...)", cifar.recognise, cifar.read
    ),
    "CSV of boxes": Reader(
        "a .csv or .tsv file with columns of paths, classes and boxes (xmin, ymin, xmax, ymax)",
        csv_boxes.recognise,
        csv_boxes.read,
    ),
    "CSV": Reader("a .csv or .tsv file with a column of paths and one of labels", csv.recognise, csv.read),
    "zip": Reader("a .zip of class folders", archive.recognise, archive.read),
    "tar": Reader("tar shards (000000.tar, ... or train-000000.tar, ...)", tar.recognise, tar.read),
    "COCO": Reader(
        "COCO JSON (annotations/instances_train.json, train.json, ...)", coco.recognise, coco.read
    ),
    "VOC": Reader("Pascal VOC XML (Annotations/a.xml, or a.xml beside a.jpg)", voc.recognise, voc.read),
    "LSP": Reader("Leeds Sports Pose (joints.mat, images/)", lsp.recognise, lsp.read),
    "YOLO": Reader("YOLO text (data.yaml, images/a.jpg, labels/a.txt)", yolo.recognise, yolo.read),
    "masks": Reader("pictures and masks (images/a.jpg, masks/a.png)", masks.recognise, masks.read),
    "folders": Reader("class folders (train/cats/1.jpg, or cats/1.jpg)", folders.recognise, folders.read),
}
