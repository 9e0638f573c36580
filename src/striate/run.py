"""The run folder: a trained model on disk, and what can be done with it.

`model.safetensors` and `model.json` are the whole model: weights, and in plain JSON the task, the network and
its arguments, the classes, how pictures are prepared, the recipe, the figures and the versions. Nothing in a
run folder is ever unpickled or executed.
"""

import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import striate
from striate import models
from striate.data import hold_out, open_data, split
from striate.data.augment import centre, normalise
from striate.data.datasets import same_set
from striate.data.inputs import Chunk, Given, decoded, gather, opened
from striate.data.loader import layout
from striate.data.prepare import Prepare
from striate.data.source import ImageFile, Source
from striate.data.split import WATCHED, to_judge
from striate.data.stream import Pictures, hold
from striate.data.video import Video
from striate.errors import BadData, BadRun, BadSetting, one_of
from striate.models.folding import for_inference, weights_seen
from striate.task import Facts, Prediction, Task
from striate.tasks import TASKS
from striate.training.checkpoint import load_tensors, save_tensors, write_text
from striate.training.evaluate import everything, figures, way

FORMAT = 1
"""The version of `model.json`; a newer one is refused, not guessed at."""


@dataclass(repr=False)
class Run:
    """A trained model and where it lies."""

    path: Path
    network: nn.Module
    task: Task
    facts: Facts
    prepare: Prepare
    info: dict[str, Any]
    """All of `model.json`."""
    left_out: list[str] = field(default_factory=list)
    """Pictures that the last `predict` or `evaluate` could not read: one line each."""
    _answering: tuple[Any, nn.Module] | None = None
    """The weights as they were, and the copy made of them."""

    def __repr__(self) -> str:
        """`Run("runs/digits": classify, lenet5, accuracy 0.9897)`."""
        network = self.info["network"]
        name = next((str(network[key]) for key in ("net", "module") if key in network), "a design")
        figure = self.figures.get(self.task.figure)
        shown = "" if figure is None else f", {self.task.figure} {figure:.4f}"
        return f'Run("{self.path}": {self.task.name}, {name}{shown})'

    @property
    def answering(self) -> nn.Module:
        """What answers: on a CPU a faster copy of `network`, made anew whenever its weights have changed."""
        self.network.eval()
        if self.device.type != "cpu":
            return self.network
        seen = weights_seen(self.network)
        if self._answering is None or self._answering[0] != seen:
            self._answering = (seen, for_inference(self.network))
        return self._answering[1]

    @property
    def figures(self) -> dict[str, Any]:
        """What the training measured in the end: `accuracy` (or the task's own), `seconds`, ..."""
        return self.info["figures"]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def evaluate(
        self,
        data: str | Path | None = None,
        split: str | None = None,
        tta: bool | None = None,
        views: int | None = None,
        scales: Sequence[int] = (),
        dense: bool = False,
        refine: bool = False,
    ) -> dict[str, Any]:
        """The task's figures on a split of `data`: its test split, else val, unless `split` names one.

        Args:
            data: the set that the run was trained on, where none is given.
            tta: average each picture with its mirror image; without it, as the run was trained, and
                always where `dense`.
            views: crops of each picture whose answers are averaged: 1, 2, 5, 6 (Jordan 2024), 10
                (Krizhevsky 2012) or 144 (Szegedy 2014).
            scales: lengths of the shorter side, in pixels, at which pictures are looked at and averaged.
            dense: run the network convolutionally over whole pictures (Simonyan & Zisserman 2015).
            refine: make the answers follow the pictures' outlines (segmentation: superpixels).

        Raises:
            BadData: the data cannot be read, has no such split, or has other classes than the model.
            BadSetting: views that this application or network does not have.
        """
        if refine and (views or scales or dense):
            raise BadSetting("refine goes with plain answers, not with views, scales or dense.")
        source = self.source(data)
        split = split or final_split(source)
        if views or scales or dense:
            output, truth = self.answers(source, split, tta, views, scales, dense)
            return {"split": split, **_figures(self, output, truth)}
        tta = self.info["recipe"]["tta"] if tta is None else tta
        with self.store(source, split) as store:
            found = figures(
                self.answering, self.task, self.facts, store, self.prepare, tta=tta, refine=refine
            )
            self.left_out = store.left_out
        return {"split": split, **found}

    def results(
        self, data: str | Path | None = None, split: str | None = None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The figures of `evaluate`, and every answer as COCO's result files have them.

        Pictures and classes have the numbers of the data's own COCO file, or are counted from 1 in order.

        Raises:
            BadSetting: the application has no such answers.
        """
        if self.task.results is None:
            raise BadSetting(f"results: COCO has no format for the answers of {self.task.name}.")
        source = self.source(data)
        split = split or final_split(source)
        output, truth = self.answers(source, split)
        answers = self.task.results(output, truth, source.class_numbers)
        return {"split": split, **_figures(self, output, truth)}, answers

    def source(self, data: str | Path | None = None) -> Source:
        """`data`, or the set that the run was trained on, split as it was then; another unsplit set whole."""
        trained_on = self.info["data"]["source"]
        try:
            whole = open_data(str(data or trained_on), whole=True)
        except BadData as error:
            if data is not None:
                raise
            raise BadData(f"{error} (the run learned from it: --data says where it is now)") from error
        learned = self.info["data"].get("pictures")
        elsewhere = not same_set(str(data or trained_on), trained_on)
        seed = self.info["seed"]
        source = to_judge(whole, seed, learned) if elsewhere and learned else split(whole, seed)
        if self.info["recipe"].get("patience") and {"train", "test"} == set(source.splits):
            source = hold_out(source, WATCHED, seed)
        if source.held_out and not elsewhere:
            cure = "val, drawn from all, may hold some that it learned from: evaluate on others, with --data."
            source.unchanged(learned, cure)
        return source if self.task.samples is None else self.task.samples(source)

    def answers(
        self,
        source: Source,
        split: str,
        tta: bool | None = None,
        views: int | None = None,
        scales: Sequence[int] = (),
        dense: bool = False,
    ) -> tuple[Tensor, dict[str, Any]]:
        """What the network says of every picture of a split, (N, ...) on the CPU, and the truth.

        The arguments are those of `evaluate`.
        """
        if not (views or scales or dense):
            tta = self.info["recipe"]["tta"] if tta is None else tta
            with self.store(source, split) as store:
                found = everything(self.answering, self.task, store, self.prepare, tta=tta)
                self.left_out = store.left_out
                return found
        if self.task.look is None:
            raise BadSetting(f"views, scales and dense are for whole pictures, not for {self.task.name}.")
        if views and (dense or tta is not None):
            other = "dense" if dense else "tta"
            raise BadSetting(f"views {views} says by itself where to look: leave {other} out.")
        if tta is None:
            tta = dense or self.info["recipe"]["tta"]
        self.check_classes(source)
        output, truth, self.left_out = self.task.look(
            self.network.eval() if dense else self.answering,
            source.splits[one_of("split", split, source.splits)],
            self.prepare,
            crops=views or (2 if tta else 1),
            scales=scales,
            dense=dense,
        )
        return output, truth

    def store(self, source: Source, split: str) -> Pictures:
        """A split as this model wants its pictures, decoded once, or streamed where it is too large."""
        one_of("split", split, source.splits)
        self.check_classes(source)
        return hold(source.splits[split], self.prepare, self.task.targets)

    def check_classes(self, source: Source) -> None:
        """Raise `BadData` where a source has other classes than the model."""
        mine, theirs = self.info["data"].get("classes", self.facts.get("classes")), list(source.classes)
        if theirs and theirs != mine:
            raise BadData(
                f"{source.name}: its classes {_few(theirs)} are not the model's {_few(mine)}: "
                "evaluate on data with the same class names, or use predict."
            )

    def predict(
        self, inputs: Given | Iterable[Given], batch: int = 64, refine: bool = False, tile: bool = False
    ) -> list[Prediction]:
        """One prediction per picture: a file, folder, glob, zip, open picture, or several of them.

        Pictures that cannot be read are left out and named in `left_out`. With `refine` answers follow the
        pictures' outlines; with `tile` large pictures are looked at piece by piece in place of being scaled
        down, where the application knows how.

        Raises:
            BadData: nothing there, or not one picture can be read.
        """
        found = list(self.stream(inputs, batch, refine, tile))
        if not found:
            raise BadData(f"not one of {len(self.left_out)} pictures can be read: {self.left_out[0]}")
        return found

    def stream(
        self, inputs: Given | Iterable[Given], batch: int = 64, refine: bool = False, tile: bool = False
    ) -> Iterator[Prediction]:
        """The predictions of `predict` one by one, for more pictures than fit in memory."""
        self.left_out, follow, piecewise = [], way(self.task, "refine", refine), way(self.task, "tile", tile)
        if piecewise is not None and follow is not None:
            raise BadSetting("refine and tile: pieces are not refined; leave one of them out.")
        if piecewise is not None:
            yield from self._piecewise(piecewise, gather(inputs))
            return
        for chunk in decoded(gather(inputs), self.prepare, batch, self.left_out):
            yield from self.answered(chunk, follow)

    def frames(self, video: Video, batch: int = 16, refine: bool = False) -> Iterator[Prediction]:
        """The predictions of a film's frames one by one, each with its frame as the picture to draw on."""
        follow, number, frames = way(self.task, "refine", refine), 0, iter(video)
        while some := list(islice(frames, batch)):
            names = [f"{video.path}#{number + i}" for i in range(len(some))]
            yield from self.answered(opened([Image.fromarray(f) for f in some], self.prepare, names), follow)
            number += len(some)

    def answered(self, chunk: Chunk, follow: Any = None) -> Iterator[Prediction]:
        """The predictions of pictures that are decoded; `follow` refines the network's output."""
        output = self.answer(chunk.images)
        if follow is not None:
            output = follow(output, centre(chunk.images, self.prepare))
        fit = chunk.fit.in_window(self.prepare)
        for i, answer in enumerate(self.task.decode(output, self.facts)):
            here = fit.subset([i])
            yield self.task.prediction(answer, file=chunk.names[i], image=chunk.pictures[i], fit=here)

    def _piecewise(self, tile: Any, pictures: list[ImageFile | Image.Image]) -> Iterator[Prediction]:
        """The predictions of pictures that are looked at one by one."""
        for number, picture in enumerate(pictures, 1):
            file = picture.name if isinstance(picture, ImageFile) else f"picture {number}"
            try:
                yield tile(self.answer, picture, self.prepare, self.facts, file)
            except BadData as why:
                self.left_out.append(str(why))

    @torch.inference_mode()
    def answer(self, images: Tensor) -> Any:
        """uint8 pictures as `prepare` stores them (B, C, H, W) -> what the network says of them."""
        window = centre(images.to(self.device), self.prepare)
        return self.task.forward(self.answering, normalise(window, self.prepare, layout(True)), None)


def load(path: str | Path, device: str | torch.device | None = None, network: nn.Module | None = None) -> Run:
    """Open a run folder. `network` is needed only where it was trained from a module of the user's own.

    Raises:
        BadRun: not a run folder, an unfinished or damaged one, or one written by a newer Striate.
    """
    folder = Path(path)
    info = _read_info(folder)
    try:
        task = TASKS[one_of("task", info["task"], TASKS)]
        prepare = Prepare.from_json(info["prepare"])
        backbone = network or models.from_spec(info["network"])
        facts = info["facts"]
    except KeyError as missing:
        raise BadRun(f"{folder / 'model.json'}: the field {missing} is missing.") from None
    built = task.build(backbone, facts)
    tensors, _ = load_tensors(folder / "model.safetensors")
    try:
        built.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise BadRun(
            f"{folder}: the weights are not of the network in model.json: {first[0].strip()}"
        ) from error
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    built.to(device=chosen, memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]
    return Run(folder, built.eval(), task, facts, prepare, info)


def evaluate_together(
    runs: Sequence[Run],
    data: str | Path | None = None,
    split: str | None = None,
    vote: str = "mean",
    **views: Any,
) -> dict[str, Any]:
    """The figures of several networks that answer together.

    `vote` is "mean" (of the softmax) or "plurality" (one vote each). `data`, `split` and `views` (`tta`,
    `views`, `scales`, `dense`) are as in `Run.evaluate`. `each` holds the headline figure of every run.

    Raises:
        BadData: the runs do not know the same classes, or a picture that one is tested on may have been
            in another's training.
    """
    first = runs[0]
    combine = first.task.vote
    if combine is None or any(run.task.name != first.task.name for run in runs):
        raise BadSetting("several runs can vote where all of them classify.")
    sources = [run.source(data or first.info["data"]["source"]) for run in runs]
    split = one_of("split", split or final_split(sources[0]), sources[0].splits)
    for run, source in zip(runs[1:], sources[1:], strict=True):
        if run.facts != first.facts:
            raise BadData(f"{run.path}: does not know the classes of {first.path}; such runs cannot vote.")
        same = sources[0].splits[split].same_pictures(source.splits.get(split))
        if not same and "all" not in source.splits:  # who is judged on all learned from none of them
            raise BadData(
                f"{source.name}: has no {split} split of its own, and {first.path} and {run.path} made "
                "different ones (their seeds differ): train both with one seed, or evaluate on other data."
            )
    outputs, truth, each = [], {}, []
    for run in runs:
        output, truth = run.answers(sources[0], split, **views)
        each.append(_figures(first, output, truth)[first.task.figure])
        outputs.append(output)
    return {"split": split, **_figures(first, combine(outputs, vote), truth), "each": each}


def _figures(run: Run, output: Tensor, truth: dict[str, Any]) -> dict[str, Any]:
    metric = run.task.metric(run.facts)
    metric.update(output, truth)
    return metric.compute()


def save(folder: Path, network: nn.Module, info: dict[str, Any]) -> None:
    """Write `model.safetensors`, then `model.json`: a folder with the second has the first."""
    save_tensors(folder / "model.safetensors", network.state_dict())
    versions = {
        "striate": striate.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    whole = {"format": FORMAT, **info, "versions": versions}
    write_text(folder / "model.json", json.dumps(whole, indent=1, ensure_ascii=False))


def final_split(source: Source) -> str:
    """The split whose figures count: test where there is one, else val, else all there is."""
    return next((name for name in ("test", "val") if name in source.splits), next(iter(source.splits)))


def _read_info(folder: Path) -> dict[str, Any]:
    file = folder / "model.json"
    if not file.is_file():
        if (folder / "checkpoint" / "settings.json").is_file():
            raise BadRun(
                f"{folder}: this run is not finished: go on with striate train --resume --out {folder}"
            )
        if not folder.is_dir():
            raise BadRun(f"{folder}: there is no such folder; striate train writes run folders, below runs/.")
        raise BadRun(f"{folder}: not a run folder: it has no model.json.")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRun(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise BadRun(
            f"{file}: not of format {FORMAT}: this Striate is {striate.__version__}; a newer one may read it."
        )
    return info


def _few(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
