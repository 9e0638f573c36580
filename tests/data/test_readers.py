"""Every usual layout on disk is read; what is wrong with one is said in one line that names the place."""

import gzip
import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import open_data
from striate.data.picture import encoded
from striate.data.readers import READERS
from striate.data.readers.idx import FASHION, load
from striate.errors import BadData


def png(value: int = 0) -> bytes:
    stream = BytesIO()
    Image.new("L", (4, 4), value).save(stream, "PNG")
    return stream.getvalue()


def lay(root: Path, *names: str) -> Path:
    """Files by name, pictures real; a name that ends in a slash is an empty folder."""
    for i, name in enumerate(names):
        target = root / name
        (target if name.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            target.write_bytes(png(i) if target.suffix != ".txt" else b"words")
    return root


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else png())
    return path


def counts(source) -> dict[str, list[int]]:
    return {
        k: np.bincount(s.targets["label"], minlength=len(source.classes)).tolist()
        for k, s in source.splits.items()
    }


def some(folder: str, n: int) -> list[str]:
    return [f"{folder}/{i}.png" for i in range(n)]


# Class folders


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_folders_with_splits(tmp_path, val):
    root = lay(
        tmp_path,
        *some("train/cats", 3),
        *some("train/dogs", 2),
        *some(f"{val}/cats", 1),
        *some(f"{val}/dogs", 2),
    )
    source = open_data(root)
    assert source.classes == ("cats", "dogs") and source.format == "class folders"
    assert counts(source) == {"train": [3, 2], "val": [1, 2]} and not source.warnings
    assert source.splits["train"].name(3) == "train/dogs/0.png"


def test_flat_folders_are_split(tmp_path):
    source = open_data(lay(tmp_path, *some("a", 10), *some("b", 5)))
    assert counts(source) == {"train": [8, 4], "val": [2, 1]}


def test_numeric_classes_are_sorted_as_numbers(tmp_path):
    names = [f"{i}/{j}.png" for i in (10, 9, 2, 100) for j in range(5)]
    assert open_data(lay(tmp_path, *names)).classes == ("2", "9", "10", "100")


def test_what_systems_leave_behind_is_ignored_and_other_files_counted(tmp_path):
    left = [".DS_Store", "a/.hidden.png", "__MACOSX/a/x.png", ".git/x.png"]
    source = open_data(lay(tmp_path, *some("a", 5), *some("b", 5), *left, "a/notes.txt", "read me.txt"))
    assert source.classes == ("a", "b")
    assert source.warnings == [f"{tmp_path}: 2 files are no pictures and were left out, such as a/notes.txt"]


def test_empty_class_folder_is_named(tmp_path):
    lay(tmp_path, *some("train/cats", 3), "train/dogs/", *some("test/cats", 1))
    with pytest.raises(BadData, match="the class folder train/dogs holds no picture; fill it or delete it"):
        open_data(tmp_path)


def test_pictures_without_classes(tmp_path):
    with pytest.raises(BadData, match="x.png lies in no class folder; put each class's pictures in a folder"):
        open_data(lay(tmp_path / "flat", "x.png", "y.png"))
    with pytest.raises(BadData, match="train/x.png lies in no class folder"):
        open_data(lay(tmp_path / "split", "train/x.png", *some("val/a", 2)))


def test_classes_that_are_called_as_other_formats_folders(tmp_path):
    source = open_data(lay(tmp_path / "a", *some("mask", 5), *some("no_mask", 5)))
    assert source.classes == ("mask", "no_mask") and source.format == "class folders"
    source = open_data(lay(tmp_path / "b", *some("bus", 5), *some("car", 5), *some("train", 10)))
    assert source.classes == ("bus", "car", "train") and counts(source) == {
        "train": [4, 4, 8],
        "val": [1, 1, 2],
    }
    for others in ("test/0.png", "docs/0.png"):
        with pytest.raises(BadData, match="train/0.png lies in no class folder"):
            open_data(lay(tmp_path / others[:4], *some("train", 5), others))


def test_trainval_is_the_training_set_where_there_is_no_other(tmp_path):
    lay(tmp_path, *some("trainval/a", 4), *some("trainval/b", 4), *some("test/a", 1), *some("test/b", 1))
    assert counts(open_data(tmp_path)) == {"train": [4, 4], "test": [1, 1]}
    lay(tmp_path, *some("train/a", 3), *some("train/b", 3), *some("val/a", 1), *some("val/b", 1))
    source = open_data(tmp_path)
    assert counts(source) == {"train": [3, 3], "val": [1, 1], "test": [1, 1]}
    assert source.warnings == [f"{tmp_path}: 8 pictures in trainval lie in no class folder: left out"]


def test_an_unlabelled_test_set_is_left_out_with_a_warning(tmp_path):
    source = open_data(lay(tmp_path, *some("train/a", 5), *some("train/b", 5), *some("test", 3)))
    assert list(source.splits) == ["train", "val"]
    assert source.warnings == [f"{tmp_path}: 3 pictures in test lie in no class folder: left out"]


def test_classes_that_train_has_not_are_pointed_out(tmp_path):
    source = open_data(lay(tmp_path, *some("train/a", 3), *some("val/a", 1), *some("val/b", 1)))
    assert source.classes == ("a", "b")
    assert source.warnings == [f"{tmp_path}: val has classes that train has not: b"]


def test_other_formats_are_not_taken_for_classes(tmp_path):
    lay(tmp_path, *some("train/images", 3), *some("train/ImageSets", 3))
    with pytest.raises(
        BadData, match="not a data set of a known format. Looked for: .*IDX.*CIFAR.*csv.*zip.*class folders"
    ):
        open_data(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="empty: holds no pictures: give a folder with a folder of pictures"):
        open_data(tmp_path / "empty")


def test_real_folders(data_root):
    source = open_data(data_root / "hymenoptera")
    assert source.classes == ("ants", "bees") and sum(map(len, source.splits.values())) == 398


# Zip of class folders


@pytest.mark.parametrize("top", ["", "pets/"])
def test_zip_is_read_in_place(tmp_path, top):
    names = [
        top + n
        for n in (
            *some("train/cats", 2),
            *some("train/dogs", 2),
            *some("test/cats", 1),
            *some("test/dogs", 1),
        )
    ]
    source = open_data(zipped(tmp_path / "pets.zip", top + "train/", *names, "__MACOSX/train/x.png"))
    assert source.format == "zip of class folders" and source.classes == ("cats", "dogs")
    assert counts(source) == {"train": [2, 2], "test": [1, 1]}
    assert encoded(source.splits["train"].images[0]) == png()
    assert [p.name for p in tmp_path.iterdir()] == ["pets.zip"]


def test_zip_of_flat_wrapped_folders(tmp_path):
    source = open_data(zipped(tmp_path / "x.zip", *some("top/a", 5), *some("top/b", 5)))
    assert counts(source) == {"train": [4, 4], "val": [1, 1]}


def test_zip_errors(tmp_path):
    with pytest.raises(BadData, match="the class folder a/b/ holds no picture"):
        open_data(zipped(tmp_path / "empty.zip", "a/b/", *some("a/c", 2)))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "empty.zip").read_bytes()[:200])
    with pytest.raises(BadData, match="cut.zip: cannot be read as a zip"):
        open_data(tmp_path / "cut.zip")


def test_cifar10_zip(data_root):
    source = open_data(data_root / "cifar10.zip")
    assert counts(source) == {"train": [5000] * 10, "test": [1000] * 10}
    assert source.classes[:2] == ("airplane", "automobile")


# CSV


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    lay(root, *some("img", 10))
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def lines(labels: str, form: str = "img/{i}.png,{label}") -> str:
    return "\n".join(form.format(i=i, label=label) for i, label in enumerate(labels.split()))


@pytest.mark.parametrize("header", ["path,label\n", "Filename,Class\n", ""])
def test_csv_with_and_without_a_header(tmp_path, header):
    source = open_data(table(tmp_path, header + lines("cat dog cat dog cat dog cat dog cat dog")))
    assert source.classes == ("cat", "dog") and counts(source) == {"train": [4, 4], "val": [1, 1]}


def test_csv_columns_in_any_order_with_split_and_semicolons(tmp_path):
    rows = [f"{'train' if i < 6 else 'validation'};x;{i % 2};img/{i}.png" for i in range(10)]
    source = open_data(table(tmp_path, "\n".join(["split;note;target;image", *rows])))
    assert counts(source) == {"train": [3, 3], "val": [2, 2]}
    assert open_data(table(tmp_path, lines("1 2 1 2", "img/{i}.png\t{label}"), "t.tsv")).classes == ("1", "2")


def test_csv_numbers_are_sorted_as_numbers_and_floats_are_forgiven(tmp_path):
    assert open_data(table(tmp_path, lines("10.0 9.0 10 9"))).classes == ("9", "10")


def test_csv_names_that_python_would_take_for_numbers(tmp_path):
    assert open_data(table(tmp_path, lines("0_2 4_6 0_2 4_6"))).classes == ("0_2", "4_6")
    large = ("12345678901234567890", "12345678901234567891")
    assert open_data(table(tmp_path, lines(" ".join(large * 2)))).classes == large


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lines("1 2 cat 1"), "mixed label types: line 1 has the number '1', line 3 the text 'cat'"),
        ("path,label\nimg/0.png,\n", "line 2: the label is empty"),
        ("path,label\n,3\n", "line 2: the path is empty"),
        ("path,label\nimg/0.png\n", "line 2: has 1 columns"),
        ("path,label,split\nimg/0.png,3,dunno\n", "line 2: split 'dunno': there are train, val and test"),
        ("path,label\n", "names the columns, but no picture"),
        ("gone/0.png,a\ngone/1.png,b\n", "none of its 2 files exists, such as .*gone/0.png"),
    ],
)
def test_csv_errors_say_the_line(tmp_path, text, says):
    with pytest.raises(BadData, match=f"labels.csv.*{says}"):
        open_data(table(tmp_path, text))


def test_csv_missing_files_are_counted(tmp_path):
    source = open_data(table(tmp_path, lines("a b a b") + "\nimg/gone.png,a"))
    assert source.warnings == [f"{tmp_path / 'labels.csv'}: 1 of its files do not exist (img/gone.png, ...)"]


def test_a_table_without_pictures_is_not_one_of_ours(tmp_path):
    with pytest.raises(BadData, match="not a data set"):
        open_data(table(tmp_path, "sepal,petal\n1,2\n"))


# IDX


def idx(values: np.ndarray) -> bytes:
    return (
        b"\0\0\x08"
        + bytes([values.ndim])
        + b"".join(n.to_bytes(4, "big") for n in values.shape)
        + values.tobytes()
    )


def idx_set(root: Path, labels, test=(1, 2), dot: bool = False, packed: bool = True) -> Path:
    root.mkdir(exist_ok=True)
    for split, truth in (("train", labels), ("t10k", test)):
        truth = np.array(truth, dtype=np.uint8)
        images = np.arange(len(truth) * 30, dtype=np.uint8).reshape(-1, 5, 6)
        for name, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", truth)):
            name = f"{split}-{name.replace('-idx', '.idx') if dot else name}"
            data = idx(values)
            (root / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return root


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_plain_or_gzipped_with_dashes_or_dots(tmp_path, dot, packed):
    source = open_data(idx_set(tmp_path, [3, 1, 0], dot=dot, packed=packed))
    assert {k: s.targets["label"].tolist() for k, s in source.splits.items()} == {
        "train": [3, 1, 0],
        "test": [1, 2],
    }
    assert (
        source.splits["train"].images.shape == (3, 1, 5, 6)
        and source.splits["train"].images[1, 0, 0, 0] == 30
    )
    assert source.classes == tuple("0123456789")


def test_fashion_is_told_from_digits(tmp_path):
    assert open_data(idx_set(tmp_path / "x", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5])).classes == FASHION
    assert open_data(idx_set(tmp_path / "fashion", [1, 2, 3])).classes == FASHION


def test_idx_errors(tmp_path):
    root = idx_set(tmp_path, [1, 2, 3], packed=False)
    images, labels = root / "train-images-idx3-ubyte", root / "train-labels-idx1-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-5])
    with pytest.raises(BadData, match="header promises 90 bytes, there are 85; fetch it again"):
        open_data(root)
    images.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    with pytest.raises(BadData, match="train-images-idx3-ubyte: "):
        open_data(root)
    images.write_bytes(b"\x89PNG" + whole)
    with pytest.raises(BadData, match="not an IDX file of bytes in 3 dimensions: begins 89504e47"):
        open_data(root)
    images.write_bytes(whole)
    labels.write_bytes(idx(np.zeros(2, dtype=np.uint8)))
    with pytest.raises(BadData, match="3 pictures, but train-labels-idx1-ubyte holds 2 labels"):
        open_data(root)
    labels.unlink()
    with pytest.raises(BadData, match="its labels are missing"):
        open_data(root)


def test_truncated_gzip(tmp_path):
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(idx(np.zeros((9, 9, 9), dtype=np.uint8)))[:-12])
    with pytest.raises(BadData, match="x.gz: cannot be read"):
        load(file, 3)


def test_real_mnist(data_root):
    source = open_data(data_root / "mnist")
    assert source.format == "IDX (MNIST)" and {k: len(s) for k, s in source.splits.items()} == {
        "train": 60_000,
        "test": 10_000,
    }
    assert source.splits["train"].targets["label"][:5].tolist() == [5, 0, 4, 1, 9]
    assert np.mean(source.splits["train"].images) / 255 == pytest.approx(0.1307, abs=1e-4)


# Built-in digits


def test_digits_are_built_in():
    source = open_data("digits")
    assert {k: len(s) for k, s in source.splits.items()} == {"train": 1438, "val": 359}
    whole = READERS["digits"].read(source.path).splits["all"]
    assert whole.targets["label"][:10].tolist() == list(range(10)) and whole.images.shape == (1797, 1, 8, 8)
    assert whole.images[0, 0, 0].tolist() == [round(v * 255 / 16) for v in (0, 0, 5, 13, 9, 1, 0, 0)]


@pytest.mark.slow  # importing scikit-learn takes seconds
def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    whole = READERS["digits"].read(open_data("digits").path).splits["all"]
    assert np.array_equal(whole.targets["label"], bunch.target)
    assert np.array_equal(whole.images[:, 0], np.rint(bunch.images * 255 / 16))


def test_damaged_digits(tmp_path):
    shutil.copy(__file__, tmp_path / "digits.csv.gz")
    with pytest.raises(BadData, match="digits.csv.gz: cannot be read"):
        open_data(tmp_path / "digits.csv.gz")
