"""`striate train TASK --data DATA`."""

from pathlib import Path
from typing import Any

import typer

from striate.cli.results import print_json, print_profile, report_on


def train(
    task: str = typer.Argument(
        None, help="The application: classify, detect, pose, segment.", show_default="classify"
    ),
    data: str = typer.Option(None, help="A named set (mnist, digits, ...) or a path: folders, zip, CSV, ..."),
    net: str = typer.Option(
        None, help="A zoo name, a design in quotes or a .json file.", show_default="the application's"
    ),
    recipe: str = typer.Option(
        None,
        help="fast, classic, muon, sprint, places, finetune or paper (the network's own).",
        show_default="fast; places for detect, pose, segment",
    ),
    epochs: int = typer.Option(None, help="Passes over the training pictures.", show_default="the recipe's"),
    batch: int = typer.Option(None, help="Pictures per step.", show_default="the recipe's"),
    lr: float = typer.Option(None, help="Peak learning rate.", show_default="the recipe's"),
    head: str = typer.Option(
        None,
        help="detect: onestage, faster, mask; pose: heatmap, deeppose; segment: light, multiscale.",
        show_default="the first",
    ),
    size: int = typer.Option(None, help="Longer side of the network's input.", show_default="from the data"),
    weights: str = typer.Option(None, help="imagenet, or a file to start from (.safetensors, .pt)."),
    stream: bool = typer.Option(
        None,
        "--stream",
        help="Decode batch by batch, keep nothing.",
        show_default="where pictures fit nowhere",
    ),
    seed: int = typer.Option(None, help="Decides every random number.", show_default="0"),
    out: Path = typer.Option(None, help="The run folder.", show_default="runs/TASK-DATA-NET"),
    resume: bool = typer.Option(
        False, "--resume", help="Go on with the run in --out, also past its last epoch."
    ),
    devices: int = typer.Option(1, min=1, help="Processes to train in, one per GPU where there are any."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Any other field of the recipe."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show that one batch can be learned, and stop."),
    profile: bool = typer.Option(False, "--profile", help="Show where the time of a step goes, and stop."),
    download: bool = typer.Option(False, "--download", help="Fetch a named set that is not on this machine."),
    tensorboard: bool = typer.Option(
        False, "--tensorboard", help="Write TensorBoard logs into the run folder."
    ),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Train a network on pictures.

    Writes a run folder: the model, its figures, report.html and a checkpoint to resume from.

    For example: striate train classify --data mnist --net lenet5 --epochs 5
    """
    from striate import verbs
    from striate.training.parallel import ranks
    from striate.training.recipes import assignments

    changes = {"epochs": epochs, "batch": batch, "lr": lr} | assignments(set_)
    changes = {key: value for key, value in changes.items() if value is not None}
    given: dict[str, Any] = {
        "recipe": recipe,
        "size": size,
        "seed": seed,
        "weights": weights,
        "head": head,
        "stream": stream,
    }
    if dry_run:
        said = verbs.dry_run(task, data, net, download=download, changes=changes, **given)
        print_json({"learned": True, "message": said}) if json else print(said)
        return
    if profile:
        found = verbs.profile(task, data, net, download=download, changes=changes, **given)
        print_json(found.to_dict()) if json else print_profile(found)
        return
    run = verbs.train(
        task,
        data,
        net,
        **given,
        out=out,
        resume=resume,
        devices=devices,
        changes=changes,
        download=download,
        tensorboard=tensorboard,
    )
    if ranks()[0] == 0:
        print_json({"run": str(run.path), **run.figures}) if json else report_on(run)
