"""The Leeds Sports Pose sets: `joints.mat` and `images`, fourteen joints of one person in each picture.

Johnson and Everingham 2010: joints are (3, 14, N), and the third value says that a joint is covered; its
first 1,000 pictures are for training, the others for testing. The extended set (2011): (14, 3, N), and the
third value says that a joint is labelled at all. The person's box is that of the joints, a fifth larger.
"""

from pathlib import Path

import numpy as np

from striate.data.readers.folders import hidden, is_picture
from striate.data.scenes import BONES, JOINTS, MIRRORED
from striate.data.source import ImageFile, Source, Split
from striate.data.things import Thing, targets
from striate.errors import BadData

CLASSIC = 2000
"""Pictures of the set of 2010, half of them to train on."""


def recognise(path: Path) -> bool:
    """`joints.mat`, or a folder that holds it and `images`."""
    return _matrix(path) is not None


def read(path: Path) -> Source:
    """`train` and `test` of the set of 2010, `all` of the extended one.

    Raises:
        BadData: the file cannot be read, or does not have as many people as there are pictures.
    """
    file = _matrix(path)
    assert file is not None
    joints, classic = _joints(file)
    files = (file.parent / "images").iterdir()
    pictures = sorted(f for f in files if is_picture(f.name) and not hidden(f.name))
    if len(pictures) != len(joints):
        raise BadData(f"{file}: has joints of {len(joints)} people for {len(pictures)} pictures in images")
    files = [ImageFile(f"images/{picture.name}", picture) for picture in pictures]
    whole = Split(files, targets([[_person(one)] for one in joints], len(JOINTS)))
    splits = {"all": whole}
    if classic and len(files) == CLASSIC:
        half = CLASSIC // 2
        splits = {"train": whole.subset(range(half)), "test": whole.subset(range(half, CLASSIC))}
    notes = {"joints": list(JOINTS), "bones": [list(bone) for bone in BONES], "mirrored": list(MIRRORED)}
    return Source(file.parent.resolve().name, path, "Leeds Sports Pose", splits, ("person",), notes=notes)


def _matrix(path: Path) -> Path | None:
    file = path / "joints.mat" if path.is_dir() else path
    return (
        file if file.name == "joints.mat" and file.is_file() and (file.parent / "images").is_dir() else None
    )


def _joints(file: Path) -> tuple[np.ndarray, bool]:
    """(joints float32 (N, 14, 3) as COCO writes them, whether it is the set of 2010)."""
    from scipy.io import loadmat  # scikit-learn brings it

    try:
        found = loadmat(file, variable_names=["joints"])["joints"]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as why:
        raise BadData(f"{file}: the matrix `joints` cannot be read: {why}") from why
    if found.ndim != 3 or sorted(found.shape[:2]) != [3, len(JOINTS)]:
        raise BadData(f"{file}: joints are {found.shape}; (14, 3, N) or (3, 14, N) is needed")
    classic = found.shape[0] == 3
    joints = found.transpose(2, 1, 0) if classic else found.transpose(2, 0, 1)
    joints = np.ascontiguousarray(joints, dtype=np.float32)
    flag = joints[:, :, 2] > 0.5
    joints[:, :, 2] = np.where(flag, 1, 2) if classic else np.where(flag, 2, 0)
    return joints, classic


def _person(joints: np.ndarray) -> Thing:
    """The person with these joints (14, 3)."""
    known = joints[joints[:, 2] > 0, :2]
    low, high = (known.min(0), known.max(0)) if len(known) else (np.zeros(2), np.ones(2))
    rim = 0.1 * (high - low)
    x1, y1, x2, y2 = np.concatenate([low - rim, high + rim]).tolist()
    return Thing((x1, y1, x2, y2), 0, keypoints=joints)
