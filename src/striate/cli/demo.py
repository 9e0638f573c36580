"""`striate demo`: a network that learns real digits in seconds, from nothing but what is installed."""

from pathlib import Path

import typer

from striate.cli.results import free, print_json

NET = (
    "conv3-32 pad1, batchnorm, relu, conv3-64 pad1, batchnorm, relu, pool2, "
    "conv3-128 pad1, batchnorm, relu, pool2, softmax10"
)


def demo(
    out: Path = typer.Option(None, help="The run folder.", show_default="runs/demo"),
    seed: int = typer.Option(0, help="Decides every random number."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Learn 1,797 real digits in seconds, offline."""
    from striate import verbs

    folder = out or free(Path("runs/demo"))
    run = verbs.train(
        "classify", "digits", NET, epochs=20, batch=64, seed=seed, out=folder, changes={"shift": 1}
    )
    figures = run.figures
    if json:
        print_json({"run": str(run.path), **figures})
        return
    print(
        f"\nIt reads {100 * figures['accuracy']:.1f} % of the digits it has never seen, "
        f"after {figures['seconds']:.1f} s of training."
        f"\n\n  look at what it learned   {run.path / 'report.html'}"
        f"\n\nand next:\n"
        f'\n  striate describe "{NET}" --input 1x8x8'
        f"\n  striate evaluate {run.path}"
        f"\n  striate train classify --data YOUR_FOLDER     (one folder of pictures per class)"
        f"\n  striate models"
    )
