"""Everything a training needs to go on as if it had never stopped, in one file that is replaced whole.

The data order, the augmentation and dropout of a step are functions of the seed and the step's number
(data/loader.py), and so is the learning rate (optim.py). What remains is tensors (weights, the optimizer's
memory, the averages) and a few numbers: one safetensors file, never a pickle.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from striate.errors import BadRun
from striate.training.optim import AveragedWeights, Optimizer, restore_state, state_tensors


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a new file, then put it in `path`'s place at once: a reader sees the old or the new.

    The bytes are on the disk before the name is; a process killed on the way leaves only a `.part` file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    write(part)
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.chmod(part, 0o644)  # safetensors writes for the owner alone, and a model is to be handed on
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Replace a text file whole."""
    replace_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def save_tensors(path: Path, tensors: dict[str, Tensor], numbers: dict[str, Any] | None = None) -> None:
    """Replace a safetensors file whole; `numbers`, plain JSON, ride in its header."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"striate": json.dumps(numbers)} if numbers is not None else None
    replace_whole(path, lambda part: save_file(plain, part, metadata=header))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_tensors` wrote.

    Raises:
        BadRun: the file is missing, cut short or not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("striate", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise BadRun(f"{path}: not a whole safetensors file ({error}).") from error


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: Optimizer,
    average: AveragedWeights | None,
    numbers: dict[str, Any],
) -> None:
    """Write a checkpoint of a training between two steps."""
    tensors = {f"network.{name}": t for name, t in network.state_dict().items()}
    tensors |= {f"optimizer.{name}": t for name, t in state_tensors(optimizer).items()}
    if average is not None:
        tensors |= {f"average.{i}": t for i, t in enumerate(average.average)}
    save_tensors(path, tensors, numbers)


def restore(
    path: Path, network: nn.Module, optimizer: Optimizer, average: AveragedWeights | None
) -> dict[str, Any]:
    """Put a checkpoint back, tensor by tensor, into fresh objects of the same shape; returns its numbers."""
    tensors, numbers = load_tensors(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    network.load_state_dict(part("network."))
    restore_state(optimizer, part("optimizer."))
    if average is not None:
        saved = part("average.")
        for i, tensor in enumerate(average.average):
            tensor.copy_(saved[str(i)])
    return numbers
