"""The rooms of the code: imports point one way, no file grows into a hub, nothing speaks of another place."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "striate"
LEAVES = {"errors", "ink", "fetching", "matrix"}

MAY_IMPORT = {
    "errors": set(),
    "ink": set(),
    "fetching": set(),
    "matrix": set(),
    "precision": {"data"},
    "geometry": set(),
    "winograd": set(),
    "smallmaps": {"winograd"},
    "design": {"geometry"},
    "tracing": {"geometry", "design"},
    "memory": {"tracing"},
    "models": {"geometry", "design", "winograd"},
    "data": set(),
    "task": set(),
    "tasks": {"task", "models", "data", "precision"},
    "training": {"task", "data", "memory", "smallmaps", "winograd"},
    "run": {"task", "data", "models", "tasks", "training"},
    "parts": {"task", "data", "run"},
    "differences": {"data", "precision", "run"},
    "settings": {"tasks", "training"},
    "experiment": {"task", "data", "models", "tasks", "training", "run", "settings", "tracing", "memory"},
    "profiling": {"models", "tracing", "training", "experiment"},
    "verbs": {"data", "memory", "training", "run", "settings", "experiment", "profiling"},
    "reproduce": {"data", "models", "training", "run", "verbs"},
}
"""Room -> the rooms it may import, besides itself and the leaves. Ways out (`cli`) may import all."""

WAYS_OUT = {"cli", "__main__", "__init__"}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("striate.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "striate":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    here = room(path)
    if here in WAYS_OUT:
        return
    assert here in MAY_IMPORT, f"{here} is a new room: say in this table what it may import"
    assert imported(path) <= MAY_IMPORT[here] | {here} | LEAVES


@pytest.mark.parametrize("folder", sorted(p for p in (SOURCE / "tasks").iterdir() if p.is_dir()), ids=str)
def test_no_application_imports_another(folder: Path) -> None:
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        others = {p.name for p in (SOURCE / "tasks").iterdir() if p.is_dir()} - {folder.name}
        assert not any(f"striate.tasks.{other}" in text for other in others)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_hubs_and_no_drawers(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in ("utils", "util", "misc", "helpers", "base", "common")


def test_import_and_help_do_not_load_torch() -> None:
    code = (
        "import sys, striate, striate.cli; "
        "assert not {'torch', 'matplotlib', 'sklearn'} & set(sys.modules), 'a heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
