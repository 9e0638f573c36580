"""The table of applications: one folder each, found by the name that the command line takes."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from striate.task import Task

NAMES = ("classify", "detect", "pose", "segment")


class _Table(Mapping[str, Task]):
    """Names to applications. One is imported when it is asked for: a detector's parts take a second."""

    def __getitem__(self, name: str) -> Task:
        if name not in NAMES:
            raise KeyError(name)
        return import_module(f"striate.tasks.{name}").TASK

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


TASKS: Mapping[str, Task] = _Table()
