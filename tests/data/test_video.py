"""Films are read and written frame by frame, with the answers that single pictures would get."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import striate
from striate.data.video import Writer, is_video, open_video
from striate.errors import BadData


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(20):
        frame = np.full((48, 64, 3), 60, dtype=np.uint8)
        frame[:, 3 * i : 3 * i + 8] = (0, 0, 250)  # blue, green, red
        writer.write(frame)
    writer.release()
    return path


def test_frames_come_in_order_and_in_red_green_blue(film: Path) -> None:
    opened = open_video(film)
    assert (opened.frames, opened.rate) == (20, 10) and is_video(film) and not is_video("a.jpg")
    frames = list(opened)
    assert len(frames) == 20 and frames[0].shape == (48, 64, 3)
    for i, frame in enumerate(frames):
        bar = frame[24].astype(int)
        red = (bar[:, 0] - bar[:, 2] > 100).nonzero()[0]
        assert abs(red.min() - 3 * i) <= 1


def test_a_film_that_was_written_can_be_read(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "out.mp4", 12.0)
    for i in range(5):
        writer.write(Image.new("RGB", (33, 21) if i != 3 else (50, 40), (40 * i, 0, 200 - 40 * i)))
    writer.close()
    frames = list(open_video(tmp_path / "out.mp4"))
    assert len(frames) == 5 and frames[0].shape == (22, 34, 3)
    assert frames[0][:18, :30, 2].mean() > 150 > 60 > frames[0][:18, :30, 0].mean()


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="there is no such file"):
        open_video(tmp_path / "none.mp4")
    (tmp_path / "words.mp4").write_text("words")
    with pytest.raises(BadData, match="this film cannot be read"):
        open_video(tmp_path / "words.mp4")


def test_a_film_is_answered_as_its_frames_are(film: Path, tmp_path: Path) -> None:
    run = striate.train(
        "classify", data="digits", net="lenet5", epochs=1, out=tmp_path / "run", progress=False
    )
    command = [sys.executable, "-m", "striate", "predict", str(run.path), str(film), "--json"]
    done = subprocess.run([*command, "--out", str(tmp_path / "drawn")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["predictions"]
    assert [answer["frame"] for answer in said] == list(range(20)) and said[7]["seconds"] == 0.7
    alone = run.predict([Image.fromarray(frame) for frame in open_video(film)])
    assert [answer["label"] for answer in said] == [answer.to_dict()["label"] for answer in alone]
    assert len(list(open_video(tmp_path / "drawn" / "clip.mp4"))) == 20
    done = subprocess.run([*command[:-2], "none.mp4"], capture_output=True, text=True)
    assert done.returncode == 2 and "there is no such file" in done.stderr
