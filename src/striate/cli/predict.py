"""`striate predict RUN INPUT...`."""

import sys
from pathlib import Path
from typing import Any

import typer

from striate.cli.results import free, percent, print_json


def predict(
    run: str = typer.Argument(..., help="The run folder."),
    inputs: list[str] = typer.Argument(
        ..., help="Pictures, films, folders, globs, zips; - reads a list from standard input."
    ),
    out: Path = typer.Option(None, help="Folder for the pictures and films with their answers drawn on."),
    csv: Path = typer.Option(None, help="Write a CSV file: file, label, confidence, then the best classes."),
    refine: bool = typer.Option(False, "--refine", help="Follow the picture's outlines (segment)."),
    tile: bool = typer.Option(
        False, "--tile", help="Look at large pictures piece by piece, not scaled down (segment)."
    ),
    people: str = typer.Option(
        None,
        metavar="RUN",
        help="Find the people first, with this run of detect (pose); without it, a picture shows one person.",
    ),
    batch: int = typer.Option(64, min=1, help="Pictures at a time."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Say what is in pictures, with a trained model."""
    from striate.data.findings import counted
    from striate.data.inputs import gather
    from striate.data.video import is_video, open_video
    from striate.errors import BadData, BadSetting
    from striate.parts import in_parts
    from striate.run import load
    from striate.training.progress import counting

    if people is not None and (refine or tile):
        raise BadSetting("--people: answers about people are neither refined nor tiled; leave those away.")
    opened = load(run)
    finder = None if people is None else load(people)
    named = [
        line.strip() for given in inputs for line in (sys.stdin if given == "-" else [given]) if line.strip()
    ]
    if not named:
        raise BadData("predict: standard input names no picture.")
    answers: list[dict] = []
    films = [name for name in named if is_video(name)]
    if films and csv is not None:
        raise BadSetting(f"--csv: {films[0]} is a film, and the columns hold one picture a row; use --json.")
    if films and tile:
        raise BadSetting(f"--tile: {films[0]} is a film, whose frames are not looked at piece by piece.")
    pictures = gather(name for name in named if not is_video(name))
    for film in [open_video(name) for name in films]:  # all that is named is looked at before any is answered
        answers += _film(opened, finder, film, out, refine, quiet=json or csv is not None)
    if finder is None:
        predictions, total = opened.stream(pictures, batch, refine, tile), 0
    else:
        predictions, total = in_parts(opened, finder, pictures, batch), len(pictures)
    with counting("pictures", visible=total > 0) as progress:
        for number, prediction in enumerate(predictions):
            answer = prediction.to_dict()
            if csv is not None and "top" not in answer:
                raise BadSetting(
                    "--csv: its columns hold one label a picture; write these answers with --json."
                )
            if out is not None:
                answer["drawn"] = str(_draw(prediction, out))
            if not json and csv is None:
                print(_line(answer))
            answers.append(answer)
            progress(number + 1, total)
    for line in opened.left_out:
        print(f"warning: left out {line}", file=sys.stderr)
    if not answers:
        raise BadData(f"{', '.join(named)}: not one picture can be read.")
    if csv is not None:
        _write_csv(csv, answers)
        print(f"{csv}  {counted(len(answers), 'picture')}", file=sys.stderr)
    if out is not None:
        print(f"drawn in {out}", file=sys.stderr)
    if json:
        print_json({"run": run, "predictions": answers, "left_out": opened.left_out})


def _film(run: Any, finder: Any, film: Any, out: Path | None, refine: bool, quiet: bool) -> list[dict]:
    """The answers for a film, frame by frame, and the film with them drawn on."""
    from striate.data.video import Writer
    from striate.parts import in_parts
    from striate.training.progress import counting

    answers: list[dict] = []
    predictions = run.frames(film, refine=refine) if finder is None else in_parts(run, finder, film)
    writer = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        writer = Writer(free(out / f"{film.path.stem}.mp4"), film.rate)
    with counting(film.path.name, visible=True) as progress:
        for number, prediction in enumerate(predictions):
            answer = prediction.to_dict() | {"frame": number, "seconds": round(number / film.rate, 3)}
            if writer is not None:
                writer.write(prediction.draw())
                answer["drawn"] = str(writer.path)
            elif not quiet:
                print(_line(answer))
            answers.append(answer)
            progress(number + 1, max(film.frames, number + 1))
    if writer is not None:
        writer.close()
        if not quiet:
            print(f"{writer.path}  {len(answers)} frames")
    return answers


def _line(answer: dict) -> str:
    """`cat.jpg  cat 98.10 %, dog 1.52 %, fox 0.31 %`: the best answer and the two that follow."""
    if "top" in answer:
        return f"{answer['file']}  " + ", ".join(
            f"{t['class']} {percent(t['probability'])}" for t in answer["top"][:3]
        )
    if "joints" in answer:
        mean = percent(_sure(answer["joints"]))
        return f"{answer['file']}  {len(answer['joints'])} joints, {mean} sure on average"
    if "people" in answer:
        said = [f"{one['score']:.2f} (joints {_sure(one['joints']):.2f})" for one in answer["people"]]
        more = f" and {len(said) - 8} more" if len(said) > 8 else ""
        count = f"{len(said)} {'person' if len(said) == 1 else 'people'}: "
        return f"{answer['file']}  " + (count + ", ".join(said[:8]) + more if said else "nobody")
    if "things" in answer:
        said = [f"{thing['class']} {thing['score']:.2f}" for thing in answer["things"]]
        more = f" and {len(said) - 8} more" if len(said) > 8 else ""
        return f"{answer['file']}  " + (", ".join(said[:8]) + more if said else "nothing")
    return f"{answer['file']}  " + ", ".join(
        f"{found['class']} {percent(found['share'])}" for found in answer["classes"][:6]
    )


def _sure(joints: dict[str, list[float]]) -> float:
    """The mean score of somebody's joints."""
    return sum(score for *_, score in joints.values()) / max(len(joints), 1)


def _draw(prediction, out: Path) -> Path:
    """Save the drawn picture under its own name, with a number where that is taken."""
    out.mkdir(parents=True, exist_ok=True)
    path = free(out / f"{Path(prediction.file).stem or 'picture'}.png")
    prediction.draw().save(path)
    for ending, picture in prediction.files().items():
        picture.save(path.with_name(path.stem + ending))
    return path


def _write_csv(path: Path, answers: list[dict]) -> None:
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        best = len(answers[0]["top"])
        ranks = [name for i in range(1, best + 1) for name in (f"class{i}", f"probability{i}")]
        writer.writerow(["file", "label", "confidence", *ranks])
        for answer in answers:
            top = [cell for t in answer["top"] for cell in (t["class"], f"{t['probability']:.6f}")]
            writer.writerow([answer["file"], answer["label"], f"{answer['confidence']:.6f}", *top])
