"""What a training was asked to do, kept beside its checkpoint, so that `--resume` does the same thing."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.errors import BadRun, BadSetting, one_of
from striate.tasks import TASKS
from striate.training import recipes
from striate.training.checkpoint import write_text
from striate.training.recipes import Recipe, recipe_from


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights that come out, apart from the machine and the library versions."""

    task: str
    data: str
    net: Any
    """A zoo name, a design, a path to a JSON design, or (from Python only) a module."""
    recipe: Recipe
    recipe_name: str = "fast"
    seed: int = 0
    size: int | None = None
    weights: str | None = None
    head: str | None = None
    """Which of the application's heads; None is its usual one."""
    stream: bool | None = None
    """Whether pictures are decoded batch by batch; None until the training has looked at their size."""
    pictures: dict[str, str] | None = None
    """The fingerprint of every split; None until the data has been opened."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; a module is named by its class."""
        net = self.net if isinstance(self.net, str) else f"<{type(self.net).__name__}>"
        keys = ("task", "data", "recipe_name", "seed", "size", "weights", "head", "stream", "pictures")
        plain = {key: getattr(self, key) for key in keys}
        return plain | {"net": net, "recipe": self.recipe.to_json()}

    def save(self, folder: Path) -> None:
        """Write `settings.json`."""
        write_text(folder / "settings.json", json.dumps(self.to_json(), indent=1))


def new(given: dict[str, Any], changes: dict[str, Any]) -> Settings:
    """Settings for a fresh training from what the user gave; what is None takes its default."""
    given = {key: value for key, value in given.items() if value is not None}
    task = given.pop("task", "classify")
    if task not in TASKS and os.path.exists(task):  # a Path objects to designs longer than a name may be
        raise BadSetting(f"train: {task} is no application: to train on it say --data {task}.")
    application = TASKS[one_of("task", task, TASKS)]
    if "data" not in given:
        raise BadSetting("train: no data given: add --data with a named set (mnist, digits) or a folder.")
    for key, least in (("size", 1), ("seed", 0)):
        if not least <= given.get(key, least) < 2**63:
            raise BadSetting(f"{key} {given[key]}: it is a whole number from {least} on, below 2^63.")
    name = given.pop("recipe", application.recipe)
    net = given.pop("net", None) or application.net
    data = str(given.pop("data"))
    changes = changes if application.smooths else {"label_smoothing": 0.0} | changes
    recipe = recipe_from(name, changes, net if isinstance(net, str) else type(net).__name__)
    return Settings(task, data, net, recipe, recipe_name=name, **given)


GOES_ON_WITH = ("epochs", "cuda_graph")
"""What of a recipe may differ when a run is resumed: how long it is, and what changes no weight."""


def resumed(folder: Path, given: dict[str, Any], changes: dict[str, Any]) -> Settings:
    """The settings saved in `folder`, with more or fewer epochs if asked, and with steps replayed or not.

    Raises:
        BadRun: something else was given that differs from what the run was started with.
    """
    try:
        saved = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        recipe = recipes.from_json(saved["recipe"])
        before = {key: saved[key] for key in ("task", "data", "net", "seed", "size", "weights")}
        before |= {"stream": saved.get("stream", False), "head": saved.get("head")}
        known = saved.get("pictures")
        settings = Settings(recipe=recipe, recipe_name=saved["recipe_name"], pictures=known, **before)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(
            f"{folder / 'settings.json'}: cannot be read, so the run cannot be resumed: {error}"
        ) from error
    asked = {key: value for key, value in given.items() if value is not None}
    if not isinstance(asked.get("net", ""), str):
        asked["net"] = f"<{type(asked['net']).__name__}>"
    if "data" in asked:
        asked["data"] = str(asked["data"])
    wanted = recipe_from(saved["recipe_name"], changes, saved["net"])
    now = {"recipe": settings.recipe_name, **before} | {k: getattr(recipe, k) for k in changes}
    asked |= {key: getattr(wanted, key) for key in changes}
    for key, value in asked.items():
        if key not in GOES_ON_WITH and value != now[key]:
            raise BadRun(
                f"{folder.parent}: cannot resume with {key} {value}: the run was started with {now[key]}. "
                f"Leave {key} as it was, or train a new run without --resume."
            )
    if not isinstance(given.get("net") or "", str):
        settings = replace(settings, net=given["net"])
    elif saved["net"].startswith("<"):
        raise BadRun(
            f"{folder.parent}: was trained from a module of your own, {saved['net'][1:-1]}: "
            "go on with it from Python, st.train(net=MODULE, out=..., resume=True)."
        )
    anew = {key: getattr(wanted, key) for key in GOES_ON_WITH if key in changes}
    return replace(settings, recipe=replace(recipe, **anew))
