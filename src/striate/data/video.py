"""Films as pictures: read frame by frame, and written with answers drawn on. One frame is held at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from striate.errors import BadData, BadSetting

SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"}

USUAL_RATE = 25.0
"""Frames a second of a film that does not say."""


def is_video(path: str | Path) -> bool:
    """Whether a path looks like a film's, by its ending."""
    return Path(path).suffix.lower() in SUFFIXES


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise BadSetting("films need OpenCV: pip install 'striate[video]'.") from error
    return cv2


@dataclass(frozen=True)
class Video:
    """A film on disk."""

    path: Path
    frames: int
    """As the file says; 0 where it does not."""
    rate: float
    """Frames a second."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Every frame, uint8 (H, W, 3) red, green, blue."""
        cv2 = _cv2()
        film = cv2.VideoCapture(str(self.path))
        try:
            while True:
                there, frame = film.read()
                if not there:
                    return
                yield np.ascontiguousarray(frame[:, :, ::-1])
        finally:
            film.release()


def open_video(path: str | Path) -> Video:
    """The film at `path`.

    Raises:
        BadData: no such file, or no film that can be read.
        BadSetting: OpenCV is not installed.
    """
    cv2 = _cv2()
    if not Path(path).is_file():
        raise BadData(f"{path}: there is no such file.")
    film = cv2.VideoCapture(str(path))
    try:
        if not film.isOpened() or not film.read()[0]:
            raise BadData(f"{path}: this film cannot be read.")
        count = max(0, int(film.get(cv2.CAP_PROP_FRAME_COUNT)))
        return Video(Path(path), count, float(film.get(cv2.CAP_PROP_FPS)) or USUAL_RATE)
    finally:
        film.release()


class Writer:
    """A film being written: VP9 in an .mp4, which browsers and players show. All frames get the first's size,
    brought to even numbers."""

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._film: Any = None
        self._size = (0, 0)

    def write(self, image: Image.Image) -> None:
        """The next frame.

        Raises:
            BadSetting: OpenCV here cannot write such films.
        """
        cv2 = _cv2()
        if self._film is None:
            self._size = image.width + image.width % 2, image.height + image.height % 2
            code = cv2.VideoWriter.fourcc(*"vp09")
            self._film = cv2.VideoWriter(str(self.path), code, self.rate, self._size)
            if not self._film.isOpened():
                raise BadSetting(f"{self.path}: this OpenCV cannot write VP9; leave --out away for films.")
        if image.size != self._size:
            sheet = Image.new("RGB", self._size)
            image.thumbnail(self._size)
            sheet.paste(image, (0, 0))
            image = sheet
        self._film.write(np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self._film is not None:
            self._film.release()
