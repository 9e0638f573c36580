"""The run folder: a trained model on disk, and what can be done with it.

`model.safetensors` and `model.json` are the whole model: weights, and in plain JSON the task, the network and
its arguments, the classes, how pictures are prepared, the recipe, the figures and the versions. Nothing in a
run folder is ever unpickled or executed.
"""

import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import striate
from striate import models
from striate.data import open_data
from striate.data.augment import centre, normalise
from striate.data.inputs import Given, decoded, gather
from striate.data.loader import layout
from striate.data.prepare import Fit, Prepare
from striate.data.source import Source
from striate.data.store import Store, decode
from striate.errors import BadData, BadRun, one_of
from striate.task import Facts, Prediction, Task
from striate.tasks import TASKS
from striate.training.checkpoint import load_tensors, save_tensors, write_text
from striate.training.evaluate import figures

FORMAT = 1
"""The version of `model.json`; a newer one is refused, not guessed at."""


@dataclass
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

    @property
    def figures(self) -> dict[str, Any]:
        """What the training measured in the end: `accuracy` (or the task's own), `seconds`, ..."""
        return self.info["figures"]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def evaluate(
        self, data: str | Path | None = None, split: str | None = None, tta: bool | None = None
    ) -> dict[str, Any]:
        """The task's figures on a split of `data`: its test split, else val, unless `split` names one.

        Without `data`, the set that the run was trained on. `tta` averages each picture with its mirror
        image; without it, as the run was trained.

        Raises:
            BadData: the data cannot be read, has no such split, or has other classes than the model.
        """
        source = open_data(str(data or self.info["data"]["source"]), seed=self.info["seed"])
        split = split or final_split(source)
        store = self.store(source, split)
        tta = self.info["recipe"]["tta"] if tta is None else tta
        found = figures(self.network, self.task, self.facts, store, self.prepare, tta=tta)
        store.close()
        return {"split": split, **found}

    def store(self, source: Source, split: str) -> Store:
        """A split decoded as this model wants its pictures."""
        one_of("split", split, source.splits)
        if source.classes and list(source.classes) != list(self.facts.get("classes", [])):
            mine, theirs = self.facts.get("classes", []), list(source.classes)
            raise BadData(
                f"{source.name}: its classes {_few(theirs)} are not the model's {_few(mine)}: "
                "evaluate on data with the same class names, or use predict."
            )
        store = decode(source.splits[split], self.prepare, self.task.targets)
        self.left_out = store.left_out
        return store

    def predict(self, inputs: Given | Iterable[Given], batch: int = 64) -> list[Prediction]:
        """One prediction per picture: a file, folder, glob, zip, open picture, or several of them.

        Pictures that cannot be read are left out and named in `left_out`.

        Raises:
            BadData: nothing there, or not one picture can be read.
        """
        found = list(self.stream(inputs, batch))
        if not found:
            raise BadData(f"not one of {len(self.left_out)} pictures can be read: {self.left_out[0]}")
        return found

    def stream(self, inputs: Given | Iterable[Given], batch: int = 64) -> Iterator[Prediction]:
        """The predictions of `predict` one by one, for more pictures than fit in memory."""
        self.left_out = []
        for chunk in decoded(gather(inputs), self.prepare, batch, self.left_out):
            output = self.answer(chunk.images)
            fit = chunk.fit.in_window(self.prepare)
            for i, answer in enumerate(self.task.decode(output, self.facts)):
                here = Fit(fit.scale[i : i + 1], fit.offset[i : i + 1], fit.original[i : i + 1])
                yield self.task.prediction(answer, file=chunk.names[i], image=chunk.pictures[i], fit=here)

    @torch.inference_mode()
    def answer(self, images: Tensor) -> Any:
        """uint8 pictures as `prepare` stores them (B, C, H, W) -> what the network says of them."""
        self.network.eval()
        window = centre(images.to(self.device), self.prepare)
        return self.task.forward(self.network, normalise(window, self.prepare, layout(True)), None)


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


__all__ = ["Run", "final_split", "load", "save"]
