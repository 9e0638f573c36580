"""The verb `train`: from the name of a data set to a run folder.

Everything is found by name along the way of the data: source, stores, network, loop, run folder, report.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from striate import experiment, profiling, settings
from striate.errors import BadRun, BadSetting, Interrupted
from striate.memory import arrange_memory, give_memory_back
from striate.profiling import Profile
from striate.run import Run, load
from striate.settings import Settings
from striate.training import parallel
from striate.training.progress import console


def train(
    task: str | None = None,
    data: str | Path | None = None,
    net: str | nn.Module | None = None,
    *,
    recipe: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    size: int | None = None,
    weights: str | Path | None = None,
    head: str | None = None,
    stream: bool | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    devices: int = 1,
    changes: dict[str, Any] | None = None,
    download: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
    checkpoint_seconds: float = 30.0,
) -> Run:
    """Train a network on a data set and return the run.

    Args:
        task: an application: `classify` (unless said otherwise), `detect`, `pose` or `segment`.
        data: a named set (`mnist`) or a path in any format that `striate data` recognises.
        net: a zoo name, a design, a path to a JSON design, or a module.
        recipe: a name in `recipes.RECIPES`, or `paper`; `epochs`, `batch`, `lr` and `changes` alter fields.
        size: height and width of the pictures that the network is fed; decided from the data without it.
        weights: a file of weights to start from.
        head: which of the application's heads, where it has several.
        stream: decode batch by batch and keep nothing; by itself where pictures fit neither memory nor disk.
        seed: of the weights, the order, the augmentation and any split that has to be made; 0 by default.
        out: the run folder; `runs/<task>-<data>-<net>` by default.
        resume: go on with the run in `out` (or the default folder), or start anew where there is none.
        devices: processes to train in, on GPUs where there are any.
        download: fetch a named set that is not on this machine.

    Raises:
        StriateError: one line about what is wrong with the input and how to mend it.
        Interrupted: stopped by Ctrl-C; the run can be resumed.
    """
    given = {"task": task, "data": data, "net": net, "recipe": recipe, "seed": seed, "size": size}
    given |= {"stream": stream, "head": head}
    given["weights"] = str(weights) if weights is not None else None
    changed = {"epochs": epochs, "batch": batch, "lr": lr} | (changes or {})
    changed = {key: value for key, value in changed.items() if value is not None}
    folder, todo = _where(given, changed, out, resume)
    say = console().print if progress and parallel.ranks()[0] == 0 else experiment.silent
    try:
        if devices > 1 and parallel.ranks()[1] == 1:
            return _in_processes(devices, folder, todo, resume, tensorboard, download)
        if resume and not (folder / "checkpoint" / "settings.json").is_file():
            say(f"nothing to go on with in {folder}: a new training begins")
        arrange_memory()
        device = parallel.join()
        ready = experiment.set_up(todo, device, say, download)
        experiment.run(ready, folder, resume, tensorboard, say, checkpoint_seconds)
        return load(folder, network=None if isinstance(todo.net, str) else ready.backbone)
    finally:
        parallel.leave()
        give_memory_back()
        if out is None:
            with suppress(OSError):  # a folder that was made for it goes again where nothing came into it
                folder.rmdir()


def _where(given: dict, changed: dict, out: str | Path | None, resume: bool) -> tuple[Path, Settings]:
    """The run folder, and what to do in it."""
    if out is None:
        if resume and given["data"] is None:
            raise BadRun("train --resume: say which run to go on with: --out and its folder.")
        fresh = settings.new(given, changed)
        folder = _default_folder(fresh, resume)
    else:
        folder = Path(out)
    if resume and (folder / "checkpoint" / "settings.json").is_file():
        return folder, settings.resumed(folder / "checkpoint", given, changed)
    if resume and out is not None and given["data"] is None:
        raise BadRun(f"{folder}: there is no run to go on with; to begin one there, give it --data.")
    if not resume and parallel.ranks()[1] == 1 and folder.is_dir() and any(folder.iterdir()):
        raise BadRun(f"{folder}: is not empty: choose another --out, or go on with it by --resume.")
    return folder, settings.new(given, changed)


def _default_folder(todo: Settings, resume: bool) -> Path:
    """`runs/classify-mnist-lenet5`, with a number behind it where a fresh run finds it taken."""
    net = todo.net if isinstance(todo.net, str) else type(todo.net).__name__
    named = (
        net
        if net.replace("-", "").replace("_", "").isalnum()
        else Path(net).stem
        if _is_file(net)
        else "design"
    )
    base = Path("runs") / f"{todo.task}-{Path(todo.data).stem or 'data'}-{named}".lower()
    numbered = re.compile(re.escape(base.name) + r"(?:-(\d+))?")
    beside = (numbered.fullmatch(folder.name) for folder in base.parent.glob(f"{base.name}*"))
    taken = [int(found[1] or 1) for found in beside if found]
    number = max(taken, default=1 if resume else 0) + (not resume)
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        if resume or parallel.ranks()[1] > 1:
            return folder
        with suppress(FileExistsError):  # another training that began at the same time took it
            folder.mkdir(parents=True)
            return folder
        number += 1


def _is_file(name: str) -> bool:
    return name.endswith(".json") and Path(name).is_file()


def _in_processes(
    devices: int, folder: Path, todo: Settings, resume: bool, tensorboard: bool, download: bool
) -> Run:
    """Hand the training to `devices` processes of the command line and open what they made."""
    if not isinstance(todo.net, str):
        raise BadSetting(
            "devices: several processes need the network by name, as a design or as a JSON file."
        )
    if todo.recipe.batch < 2 * devices:
        raise BadSetting(
            f"batch {todo.recipe.batch} is too small for {devices} processes: 2 pictures each at least."
        )
    experiment.look(todo, download)
    arguments = ["train", todo.task, "--data", todo.data, "--net", todo.net, "--recipe", todo.recipe_name]
    arguments += ["--seed", str(todo.seed), "--out", str(folder)]
    arguments += ["--size", str(todo.size)] if todo.size else []
    arguments += ["--weights", todo.weights] if todo.weights else []
    arguments += ["--head", todo.head] if todo.head else []
    arguments += ["--stream"] if todo.stream else []
    arguments += ["--resume"] if resume else []
    arguments += ["--tensorboard"] if tensorboard else []
    usual = settings.recipe_from(todo.recipe_name, {}, todo.net).to_json()
    for key, value in todo.recipe.to_json().items():
        if value != usual[key] or key == "epochs":  # a resumed run may have been given more of them
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            arguments += ["--set", f"{key}={text}"]
    code = parallel.launch(devices, arguments)
    if code == parallel.STOPPED:
        begun = (folder / "checkpoint" / "settings.json").is_file()
        raise Interrupted("stopped" + f"; go on with: striate train --resume --out {folder}" * begun)
    if code:
        raise BadRun(f"{folder}: the training in {devices} processes ended with exit code {code}; see above.")
    return load(folder)


def dry_run(
    task: str | None, data: str | Path, net: str | nn.Module | None, *, download: bool = False, **given: Any
) -> str:
    """Show that one batch can be learned by heart, and write nothing: returns a line that says so.

    Takes the `recipe`, `size`, `seed`, `weights`, `head`, `stream` and `changes` of `train`.

    Raises:
        BadSetting: the loss did not fall to a tenth.
    """
    return experiment.learn_one_batch(_ready(task, data, net, download, given))


def profile(
    task: str | None, data: str | Path, net: str | nn.Module | None, *, download: bool = False, **given: Any
) -> Profile:
    """Where the time of a training step goes, and how fast other batches and layouts are. Writes nothing.

    Takes the `recipe`, `size`, `seed`, `weights`, `head` and `changes` of `train`.
    """
    arrange_memory()
    return profiling.profile(_ready(task, data, net, download, given))


def _ready(
    task: str | None, data: str | Path, net: str | nn.Module | None, download: bool, given: dict[str, Any]
) -> experiment.Experiment:
    """Data and network as `train` has them before its first step."""
    changes = given.pop("changes", {})
    todo = settings.new({"task": task, "data": data, "net": net, **given}, changes)
    return experiment.set_up(todo, parallel.join(), console().print, download)
