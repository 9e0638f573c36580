"""Striate: convolutional networks, sized by hand-checkable arithmetic, trained fast, looked into.

    import striate as st
    run = st.train("classify", data="mnist", net="lenet5")
    run.evaluate("mnist")["accuracy"]
    run.predict("three.png")[0].draw().save("answer.png")

The verbs are loaded when they are first used: `import striate` alone does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from striate.errors import StriateError

if TYPE_CHECKING:
    from striate.models import network
    from striate.run import Run, load
    from striate.tracing import trace
    from striate.verbs import train

__version__ = "0.1.0"
__all__ = ["Run", "StriateError", "load", "network", "trace", "train"]

_WHERE = {
    "Run": "striate.run",
    "load": "striate.run",
    "network": "striate.models",
    "trace": "striate.tracing",
    "train": "striate.verbs",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'striate' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
