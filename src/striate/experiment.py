"""One training from settings to run folder: source → store → network → loop → report, each arrow one call."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate import models
from striate.data import Source, hold_out, open_data
from striate.data.augment import centre, normalise, statistics
from striate.data.doctor import examine, summary
from striate.data.findings import counted
from striate.data.loader import Loader
from striate.data.prepare import Prepare, choose_prepare
from striate.data.split import WATCHED
from striate.data.stream import Pictures, fits, hold
from striate.errors import BadSetting, DoesNotFit, Interrupted, one_of
from striate.models.designed import begin_as_nielsen
from striate.models.folding import plain_part
from striate.models.published import SIZE, normalisation
from striate.models.weights import load_weights, read
from striate.run import final_split, save
from striate.settings import Settings
from striate.task import Facts, Task
from striate.tasks import TASKS
from striate.tracing import BrokenNetwork, Table, trace
from striate.training import parallel
from striate.training.checkpoint import load_tensors, write_text
from striate.training.evaluate import everything, figures, way
from striate.training.forecast import forecast, trial_run
from striate.training.interrupting import interruptible
from striate.training.loop import Row, Training
from striate.training.progress import counting, shown
from striate.training.recipes import Recipe
from striate.training.report import filters_picture, write_report

Say = Callable[..., None]
Answers = tuple[Any, dict[str, Any]]
"""What a network says of a whole split, and the truth: `everything`."""

WHITENED = 5000
"""Pictures that a network's first layer is fitted to, where it has one that whitens (Jordan 2024)."""


def silent(*_: Any) -> None:
    """Says nothing: for processes other than the first, and for callers who want no progress shown."""


@dataclass
class Experiment:
    """Everything a training needs, ready."""

    settings: Settings
    task: Task
    source: Source
    facts: Facts
    prepare: Prepare
    stores: dict[str, Pictures]
    backbone: nn.Module
    network: nn.Module
    recipe: Recipe
    loader: Loader


def look(todo: Settings, download: bool) -> None:
    """Say what is wrong with data and weights, and fetch what is missing, before several processes do."""
    open_data(todo.data, download=download, seed=todo.seed)
    if todo.weights is not None:
        models.weights_file(todo.net, todo.weights, download)


def set_up(todo: Settings, device: torch.device, say: Say, download: bool) -> Experiment:
    """Open the data, decode it where it fits, build the network."""
    task = TASKS[one_of("task", todo.task, TASKS)]
    source = open_data(todo.data, download=download, seed=todo.seed)
    if todo.recipe.patience:
        source = hold_out(source, WATCHED, todo.seed)
    pictures = source.unchanged(todo.pictures, "train a new run on them, without --resume.")
    todo = replace(todo, pictures=pictures)
    source = source if task.samples is None else task.samples(source)
    facts = task.facts(source) | _chosen(todo, task)
    if todo.recipe.balance and "frequencies" not in facts:
        raise BadSetting(f"balance: the loss of {task.name} has no weights for classes; leave it at 0.")
    way(task, "mirror", todo.recipe.tta)
    weights = models.weights_file(todo.net, todo.weights, download) if todo.weights is not None else None
    published = todo.weights == "imagenet"
    net_size = (SIZE if published else models.native_size(todo.net)) if task.whole else None
    prepare = choose_prepare(source, size=todo.size, fit=task.fit, net_size=net_size)
    if todo.size is None and net_size is None and task.whole:
        side = models.next_size(todo.net, max(prepare.size))
        prepare = choose_prepare(source, fit=task.fit, net_size=side if side > max(prepare.size) else None)
    todo, stores = _held(todo, source, task, prepare, say)
    if published or todo.recipe.standardise:
        mean, std = normalisation(todo.net) if published else statistics(stores["train"].sample())
        prepare = replace(prepare, mean=mean, std=tuple(max(s, 1e-3) for s in std))
    torch.manual_seed(todo.seed)
    backbone = models.network(todo.net, **_arguments(task, facts, prepare))
    if todo.recipe.init == "nielsen":
        begin_as_nielsen(backbone)
    whiten = getattr(backbone, "whiten", None)
    if whiten is not None:
        whiten(normalise(centre(stores["train"].sample()[:WHITENED], prepare), prepare))
    inner = weights is not None and not task.whole and not any("backbone." in name for name in read(weights))
    if weights is not None and inner:
        load_weights(backbone, weights, say=say)
    network = task.build(backbone, facts)
    if weights is not None and not inner:
        load_weights(network, weights, say=say)
    recipe = _decided(todo.recipe, prepare, source.notes.get("mirror", True), isinstance(todo.net, str))
    if recipe.small:
        _takes_smaller(network, prepare)
    rank, world = parallel.ranks()
    loader = Loader(
        stores["train"],
        prepare,
        recipe.batch,
        todo.seed,
        shift=recipe.shift or 0,
        flip=bool(recipe.flip),
        alternate=recipe.alternate,
        area=recipe.area,
        colour=recipe.colour,
        channels_last=recipe.channels_last,
        device=device,
        move=task.move,
        rank=rank,
        world=world,
    )
    say(f"data   {summary(examine(source, stores=stores, quick=True))}")
    if device.type == "cuda":
        # Half of a GPU's memory may hold pictures; those that do not fit there stay where they are.
        taken = sum(store.nbytes for store in stores.values())
        if taken < torch.cuda.mem_get_info(device)[0] / 2:
            for store in stores.values():
                store.move(device)
    setup = Experiment(
        todo, task, source, facts, prepare, stores, backbone, network.to(device), recipe, loader
    )
    say(_about(setup))
    return setup


def _chosen(todo: Settings, task: Task) -> Facts:
    """The facts that are the user's choice: the head, and how much rare classes count."""
    if todo.head is not None and not task.heads:
        raise BadSetting(f"head {todo.head}: {task.name} has one head only; leave --head out.")
    found: Facts = {"head": one_of("head", todo.head or task.heads[0], task.heads)} if task.heads else {}
    return found | ({"balance": todo.recipe.balance} if todo.recipe.balance else {})


def _arguments(task: Task, facts: Facts, prepare: Prepare) -> dict[str, Any]:
    """What a backbone is built with: for the classes and the size where its own head answers."""
    classes = len(facts["classes"]) if task.whole else max(2, len(facts["classes"]))
    size = prepare.input[1:] if task.whole else None
    return {"classes": classes, "channels": prepare.channels, "size": size}


def _held(
    todo: Settings, source: Source, task: Task, prepare: Prepare, say: Say
) -> tuple[Settings, dict[str, Pictures]]:
    """The splits that a training looks at, decoded or streamed, and the settings with that decided.

    It is decided once and kept with the run: a resumed run sees the same pictures on any machine.
    """
    splits = {name: source.splits[name] for name in ("train", "val", "test") if name in source.splits}
    if todo.stream is None:
        todo = replace(todo, stream=parallel.agree(not fits(splits.values(), prepare, parallel.beside())))
    if todo.stream:
        say("pictures are decoded batch by batch, and none is kept")
    processes, stores = parallel.beside(), {}
    for name, split in splits.items():
        with counting(f"reading {name}", visible=say is not silent and not todo.stream) as report:
            stores[name] = hold(
                split,
                prepare,
                task.targets,
                stream=todo.stream,
                fill=name == "train",
                processes=processes,
                progress=report,
            )
        _name_left_out(name, stores[name].left_out, say)
    for line in source.warnings:
        say(f"warning: {line}")
    return todo, stores


def _name_left_out(name: str, left_out: list[str], say: Say) -> None:
    """A warning about the pictures of a split that could not be read, if there are any."""
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        say(f"warning: {name}: left out {len(left_out)} unreadable: {'; '.join(left_out[:3])}{more}")


def _decided(recipe: Recipe, prepare: Prepare, mirror: bool, ours: bool) -> Recipe:
    """The recipe with what it leaves open decided (see `Recipe.flip`, `Recipe.shift`, `Recipe.cuda_graph`).

    `mirror` says whether classes look the same in a mirror, else `tta` is off; `ours` whose network it is.
    """
    colour, side = prepare.channels == 3, min(prepare.size)
    flip = colour and mirror if recipe.flip is None else recipe.flip
    shift = (side // 8 if colour else side // 14) if recipe.shift is None else recipe.shift
    graph = ours if recipe.cuda_graph is None else recipe.cuda_graph
    return replace(recipe, flip=flip, shift=shift, tta=recipe.tta and flip, cuda_graph=graph)


def _takes_smaller(network: nn.Module, prepare: Prepare) -> None:
    """Refuse a recipe that begins with smaller pictures for a network made for one size."""
    channels, height, width = prepare.input
    half = (channels, round(height / 2), round(width / 2))
    try:
        trace(plain_part(network), half)
    except DoesNotFit as why:
        reason = why.reason if isinstance(why, BrokenNetwork) else why
        raise BadSetting(
            f"small: this network does not take {half[1]}×{half[2]}, where its training would begin: "
            f"{reason} Leave small at 0, or choose a network that averages its last maps, such as resnet20."
        ) from None


def _about(setup: Experiment) -> str:
    """A line about the network and what its training will take, and what the network says of itself."""
    store_bytes = sum(store.nbytes for store in setup.stores.values())
    expected = forecast(setup.network, setup.task, setup.loader, setup.recipe, store_bytes)
    c, h, w = setup.prepare.input
    count = sum(p.numel() for p in setup.network.parameters())
    net = setup.settings.net if isinstance(setup.settings.net, str) else type(setup.settings.net).__name__
    size = f"input {c}×{h}×{w}, {count:,} parameters"
    note = getattr(setup.network, "note", "")
    net = f"{net}, {size}: {counted(setup.recipe.epochs, 'epoch')}, {expected}"
    return "\n       ".join(filter(None, [f"net    {net}", note]))


def learn_one_batch(setup: Experiment) -> str:
    """Learn one batch by heart and say so, or refuse with `BadSetting`."""
    first, last, steps = trial_run(setup.network, setup.task, setup.loader, setup.recipe)
    if not last <= first / 10:  # nor is a loss that became nan
        raise BadSetting(
            f"dry run: the loss on one batch went only from {first:.3f} to {last:.3f} in {steps} steps: "
            f"try another rate (now {setup.recipe.lr:g}; papers' start slowly), or look at the labels."
        )
    return f"one batch was learned by heart: loss {first:.3f} → {last:.4f} in {steps} steps"


def run(
    setup: Experiment, folder: Path, resume: bool, tensorboard: bool, say: Say, checkpoint_seconds: float
) -> None:
    """Run the loop, then write the model and its report."""
    rank, world = share = parallel.ranks()
    monitored = next((name for name in ("val", "test") if name in setup.stores), "train")
    # What is judged after the last epoch is what the report shows: it is computed once.
    reported = world == 1 and not setup.recipe.patience and monitored == final_split(setup.source)
    last: Answers | None = None

    def judge() -> dict[str, Any]:
        nonlocal last
        store, task, tta = setup.stores[monitored], setup.task, setup.recipe.tta
        if reported and training.step == training.steps:
            last = everything(setup.network, task, store, setup.prepare, tta=tta)
            found = _judged(setup, last)
        else:
            found = figures(setup.network, task, setup.facts, store, setup.prepare, tta=tta, share=share)
        return {
            f"{monitored}_loss" if k == "loss" else k: v for k, v in found.items() if isinstance(v, float)
        }

    with interruptible() as interrupted:
        training = Training(
            setup.network,
            setup.task,
            setup.loader,
            setup.recipe,
            judge,
            folder / "checkpoint",
            checkpoint_seconds,
            stop=lambda: parallel.agree(interrupted()),
        )
        if rank == 0:
            setup.settings.save(folder / "checkpoint")
        if resume and training.resume():
            say(f"resuming {folder} at step {training.step:,} of {training.steps:,}")
        rows = _kept(training, folder, tensorboard)
        for _ in shown(rows, setup.task.figure, setup.recipe.epochs, visible=say is not silent):
            pass
        if not training.finished:
            raise Interrupted(
                f"stopped at step {training.step:,} of {training.steps:,}; "
                f"go on with: striate train --resume --out {folder}"
            )
    for name, store in setup.stores.items():
        if setup.settings.stream:
            _name_left_out(name, store.left_out, say)
    if rank == 0:
        _finish(setup, training, folder, last)
    parallel.meet()


def _kept(training: Training, folder: Path, tensorboard: bool) -> Iterator[Row]:
    """The rows, the epochs' ones also written to `metrics.jsonl` (and TensorBoard) by the first process."""
    writer = _tensorboard(folder) if tensorboard and training.loader.rank == 0 else None
    for row in training.run():
        if row["row"] == "epoch" and training.loader.rank == 0:
            lines = (json.dumps({k: v for k, v in r.items() if k != "row"}) for r in training.rows)
            write_text(folder / "metrics.jsonl", "".join(f"{line}\n" for line in lines))
        if writer is not None:
            for key in row.keys() - {"row", "epoch", "step", "steps", "seconds"}:
                writer.add_scalar(f"{row['row']}/{key}", row[key], row["step"])
        yield row
    if writer is not None:
        writer.close()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BadSetting("tensorboard is not installed: pip install 'striate[logs]'.") from error
    return SummaryWriter(str(folder / "tensorboard"))


def _judged(setup: Experiment, answers: Answers) -> dict[str, Any]:
    """The figures of answers and truth."""
    metric = setup.task.metric(setup.facts)
    metric.update(*answers)
    return metric.compute()


def _finish(setup: Experiment, training: Training, folder: Path, answers: Answers | None) -> None:
    """Put the weights that count in place, judge them if need be, and write the model and its report."""
    best = folder / "checkpoint" / "best.safetensors"
    if setup.recipe.patience and best.is_file():
        setup.network.load_state_dict(load_tensors(best)[0])
    elif training.average is not None:
        training.average.swap()
    split = final_split(setup.source)
    store = setup.stores[split]
    if answers is None:
        answers = everything(setup.network, setup.task, store, setup.prepare, tta=setup.recipe.tta)
    output, target = answers
    found = _judged(setup, answers)
    training.row("end", 0.0)  # brings training.seconds up to the end of this evaluation
    info = _info(setup, training, split, found)
    save(folder, setup.network, info)
    pictures = [filters_picture(setup.network)]
    shown_pictures = {"images": store.readable(), "output": output, "target": target}
    pictures += setup.task.pictures(found, setup.facts, shown_pictures)
    write_report(
        folder,
        title=f"{info['net']} on {setup.source.name}",
        summary={k: v for k, v in info["figures"].items() if not isinstance(v, str)}
        | {"data": setup.source.name},
        rows=training.rows,
        table=_table(setup).to_dict(),
        pictures=[picture for picture in pictures if picture is not None],
        settings=setup.settings.to_json() | {"recipe": setup.recipe.to_json()},
    )


def _table(setup: Experiment) -> Table:
    """A row per layer; of a module whose forward looks at values, the rows up to there."""
    try:
        return trace(plain_part(setup.network), setup.prepare.input)
    except BrokenNetwork as why:
        return why.table


def _info(setup: Experiment, training: Training, split: str, found: dict[str, Any]) -> dict[str, Any]:
    """What `model.json` says of the run, apart from format and versions."""
    speeds = [row["images_per_second"] for row in training.rows]
    measured: dict[str, Any] = {k: v for k, v in found.items() if isinstance(v, int | float)}
    measured |= {
        "split": split,
        "epochs": len(training.rows),
        "seconds": round(training.seconds, 3),
        "images_per_second": round(sorted(speeds)[len(speeds) // 2], 1) if speeds else 0.0,
    }
    named = setup.settings.to_json()
    data = {
        "name": setup.source.name,
        "source": setup.settings.data,
        "licence": setup.source.licence,
        "pictures": setup.settings.pictures,
        "classes": list(setup.source.classes),
    }
    return {
        "task": setup.task.name,
        "net": named["net"],
        "network": models.spec(setup.settings.net, **_arguments(setup.task, setup.facts, setup.prepare)),
        "facts": setup.facts,
        "prepare": setup.prepare.to_json(),
        "recipe": setup.recipe.to_json(),
        "recipe_name": named["recipe_name"],
        "seed": setup.settings.seed,
        "figures": measured,
        "data": data,
    }
