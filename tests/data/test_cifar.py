"""CIFAR in all its published forms gives the same pictures; a hostile pickle runs nothing."""

import os
import pickle
import tarfile

import numpy as np
import pytest

from striate.data import open_data
from striate.data.readers.cifar import TEN, unpickle
from striate.errors import BadData

RNG = np.random.default_rng(0)
ROWS = {f"data_batch_{i}": RNG.integers(0, 256, (4, 3072), dtype=np.uint8) for i in range(1, 6)}
ROWS["test_batch"] = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
LABELS = {name: [(i + j) % 10 for j in range(4)] for i, name in enumerate(ROWS)}


def python_version(folder, protocol=2):
    """As published: dictionaries with byte keys, written by protocol 2."""
    folder.mkdir(parents=True)
    for name, rows in ROWS.items():
        batch = {b"data": rows, b"labels": LABELS[name], b"batch_label": b"x", b"filenames": [b"a.png"] * 4}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [n.encode() for n in TEN]}, protocol))
    return folder


def binary_version(folder):
    folder.mkdir(parents=True)
    for name, rows in ROWS.items():
        labels = np.array(LABELS[name], dtype=np.uint8)[:, None]
        (folder / f"{name}.bin").write_bytes(np.hstack([labels, rows]).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n")
    return folder


def packed(folder, name):
    with tarfile.open(folder.parent / name, "w:gz") as archive:
        archive.add(folder, folder.name)
    return folder.parent / name


def check(source):
    train, test = source.splits["train"], source.splits["test"]
    assert source.format == "CIFAR-10" and source.classes == TEN and not source.warnings
    assert np.array_equal(
        train.images.reshape(-1, 3072), np.concatenate([ROWS[f"data_batch_{i}"] for i in range(1, 6)])
    )
    assert train.targets["label"].tolist() == sum((LABELS[f"data_batch_{i}"] for i in range(1, 6)), [])
    assert np.array_equal(test.images.reshape(-1, 3072), ROWS["test_batch"])
    assert test.images.shape == (4, 3, 32, 32)


def test_both_versions_unpacked_or_in_their_archive(tmp_path):
    for version, name in ((python_version, "cifar-10-batches-py"), (binary_version, "cifar-10-batches-bin")):
        folder = version(tmp_path / version.__name__ / name)
        check(open_data(folder))
        check(open_data(folder.parent))
        check(open_data(packed(folder, "renamed.tar.gz")))
        packed(folder, f"cifar-10-{'python' if version is python_version else 'binary'}.tar.gz")
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        check(open_data(folder.parent))


def test_hundred_classes_of_both_versions(tmp_path):
    names = [f"thing{i}" for i in range(100)]
    rows = RNG.integers(0, 256, (3, 3072), dtype=np.uint8)
    text, raw = tmp_path / "cifar-100-python", tmp_path / "cifar-100-binary"
    text.mkdir(), raw.mkdir()
    for split in ("train", "test"):
        batch = {b"data": rows, b"fine_labels": [99, 0, 7], b"coarse_labels": [1, 2, 3]}
        (text / split).write_bytes(pickle.dumps(batch, 2))
        head = np.array([[1, 99], [2, 0], [3, 7]], dtype=np.uint8)
        (raw / f"{split}.bin").write_bytes(np.hstack([head, rows]).tobytes())
    (text / "meta").write_bytes(pickle.dumps({b"fine_label_names": [n.encode() for n in names]}, 2))
    (raw / "fine_label_names.txt").write_text("\n".join(names))
    for folder in (text, raw):
        source = open_data(folder)
        assert source.format == "CIFAR-100" and source.classes == tuple(names)
        assert source.splits["train"].targets["label"].tolist() == [99, 0, 7]
        assert np.array_equal(source.splits["test"].images.reshape(3, -1), rows)


class Hostile:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("call", [(os.system, "touch {}"), (eval, "open('{}', 'w')"), (os.mkdir, "{}")])
def test_a_hostile_pickle_runs_nothing(tmp_path, protocol, call):
    folder, trace = python_version(tmp_path / "cifar-10-batches-py"), tmp_path / "trace"
    evil = {b"data": Hostile(call[0], call[1].format(trace)), b"labels": [1]}
    (folder / "data_batch_3").write_bytes(pickle.dumps(evil, protocol))
    with pytest.raises(BadData, match=r"data_batch_3: asks to run \w+\.\w+, .*refused"):
        open_data(folder)
    assert not trace.exists()


def test_only_arrays_of_bytes_are_taken():
    for values in (np.zeros((2, 3072)), np.array([{}, print], dtype=object), np.zeros(3, dtype="u1,u2")):
        with pytest.raises(BadData, match="array of something else than bytes|asks to run"):
            unpickle(pickle.dumps({"data": values}, 2), "x")
    with pytest.raises(BadData, match="x: asks for the encoding"):
        unpickle(b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0bz2\x86R.", "x")


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ([1, 2], "holds a list, not CIFAR's dictionary"),
        ({b"labels": [1]}, "holds no `data`"),
        (
            {b"data": np.zeros((2, 3072), dtype=np.uint8), b"labels": [1]},
            "one whole number for each of 2 pictures",
        ),
        ({b"data": np.zeros((1, 3072), dtype=np.uint8), b"labels": ["a"]}, "one whole number"),
        ({b"data": np.zeros((1, 3072), dtype=np.uint8), b"labels": [-1]}, "outside the classes"),
        ({b"data": np.zeros((1, 3072), dtype=np.uint8), b"labels": [10]}, "has label 10, but 10 classes"),
    ],
)
def test_wrong_contents_are_said(tmp_path, batch, says):
    folder = python_version(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_2").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(BadData, match=says):
        open_data(folder)


def test_damage_is_said(tmp_path):
    folder = python_version(tmp_path / "a" / "cifar-10-batches-py")
    archive = packed(folder, "cifar-10-python.tar.gz")
    archive.write_bytes(archive.read_bytes()[:9000])
    with pytest.raises(BadData, match="cifar-10-python.tar.gz: cannot be read: .*fetch it again"):
        open_data(archive)
    (folder / "test_batch").write_bytes((folder / "test_batch").read_bytes()[:-100])
    with pytest.raises(BadData, match="test_batch: cannot be read"):
        open_data(folder)
    raw = binary_version(tmp_path / "b" / "cifar-10-batches-bin")
    (raw / "data_batch_1.bin").write_bytes(b"\0" * 5000)
    with pytest.raises(BadData, match="data_batch_1.bin: has 5,000 bytes, not a multiple of 3073"):
        open_data(raw)


def test_missing_batches_are_a_warning(tmp_path):
    folder = binary_version(tmp_path / "cifar-10-batches-bin")
    (folder / "data_batch_4.bin").unlink()
    source = open_data(folder)
    assert len(source.splits["train"]) == 16
    assert source.warnings == [f"{folder}: 4 of the 5 training files are here"]
