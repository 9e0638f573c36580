"""What can go wrong through no fault of the program: one line that says what, where, and what would fix it.

The command line prints the line and exits with 2; anything that is not a `StriateError` is a failure of
ours and exits with 1. Every module may import this one; it imports nothing.
"""


class StriateError(Exception):
    """Bad input of any kind. The message is one line: what is wrong, where, and the way out."""


class DoesNotFit(StriateError):
    """A layer's arithmetic has no whole answer, or two layers' sizes disagree."""


class BadDesign(StriateError):
    """A network's text or JSON cannot be read; the message points at the character or field."""


class BadData(StriateError):
    """A data set, or a picture that was asked for, cannot be used."""


class BadWeights(StriateError):
    """A file of weights does not match the network, or is not a file of weights."""


class BadRun(StriateError):
    """A run folder is missing, incomplete, or cannot be resumed as asked."""


class BadSetting(StriateError):
    """An unknown name (task, network, recipe, setting) or a value outside its range."""


class Interrupted(Exception):
    """A training ended early on request; what it learned is in its checkpoint."""


def one_of(kind: str, name: str, known) -> str:
    """`name` if it is in `known`, else a `BadSetting` that lists the valid names, the nearest first."""
    from difflib import SequenceMatcher, get_close_matches
    from os.path import commonprefix

    known = sorted(known)
    if name in known:
        return name

    def likeness(one: str) -> tuple[float, int]:  # of several as like, the one that begins as `name` does
        return SequenceMatcher(None, one, name.lower()).ratio(), len(commonprefix([one, name.lower()]))

    near = max(get_close_matches(name.lower(), known, n=5), key=likeness, default=None)
    hint = f"did you mean {near}? " if near else ""
    raise BadSetting(f"{kind} {name!r} is not known: {hint}There are {', '.join(known)}.")
