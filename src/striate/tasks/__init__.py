"""The table of applications: one folder each, found by the name that the command line takes."""

from striate.task import Task
from striate.tasks import classify

TASKS: dict[str, Task] = {"classify": classify.TASK}
