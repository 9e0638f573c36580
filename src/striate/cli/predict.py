"""`striate predict RUN INPUT...`."""

import sys
from pathlib import Path

import typer

from striate.cli.results import percent, print_json


def predict(
    run: str = typer.Argument(..., help="The run folder."),
    inputs: list[str] = typer.Argument(
        ..., help="Files, folders, globs, zips; - reads a list from standard input."
    ),
    out: Path = typer.Option(None, help="Folder for the pictures with their answers drawn on."),
    csv: Path = typer.Option(None, help="Write a CSV file: file, label, confidence, then the best classes."),
    batch: int = typer.Option(64, min=1, help="Pictures at a time."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Say what is in pictures, with a trained model."""
    from striate.errors import BadData
    from striate.run import load

    opened = load(run)
    named = [
        line.strip() for given in inputs for line in (sys.stdin if given == "-" else [given]) if line.strip()
    ]
    answers = []
    for number, prediction in enumerate(opened.stream(named, batch)):
        answer = prediction.to_dict()
        if out is not None:
            answer["drawn"] = str(_draw(prediction, out, number))
        if not json and csv is None:
            print(_line(answer))
        answers.append(answer)
    for line in opened.left_out:
        print(f"warning: left out {line}", file=sys.stderr)
    if not answers:
        raise BadData(f"{', '.join(named)}: not one picture can be read.")
    if csv is not None:
        _write_csv(csv, answers)
    if json:
        print_json({"run": run, "predictions": answers, "left_out": opened.left_out})


def _line(answer: dict) -> str:
    """`cat.jpg  cat 98.10 %, dog 1.52 %, fox 0.31 %`: the best answer and the two that follow."""
    if "top" not in answer:
        return f"{answer['file']}  {answer}"
    return f"{answer['file']}  " + ", ".join(
        f"{t['class']} {percent(t['probability'])}" for t in answer["top"][:3]
    )


def _draw(prediction, out: Path, number: int) -> Path:
    """Save the drawn picture under its own name, with a number where that is taken."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{Path(prediction.file).stem or 'picture'}.png"
    if path.exists():
        path = path.with_name(f"{path.stem}-{number}.png")
    prediction.draw().save(path)
    return path


def _write_csv(path: Path, answers: list[dict]) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        best = len(answers[0]["top"])
        ranks = [name for i in range(1, best + 1) for name in (f"class{i}", f"probability{i}")]
        writer.writerow(["file", "label", "confidence", *ranks])
        for answer in answers:
            top = [cell for t in answer["top"] for cell in (t["class"], f"{t['probability']:.6f}")]
            writer.writerow([answer["file"], answer["label"], f"{answer['confidence']:.6f}", *top])
