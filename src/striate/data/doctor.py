"""What a data set is, and what is wrong with it: unreadable files, duplicates, labels, empty classes.

`examine` decodes the pictures once, small, and looks. Training runs the quick part on the pictures it has
decoded anyway. Doubts about labels come from suspects.py; mend.py writes a copy without the faults.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from striate.data.picture import encoded, header
from striate.data.prepare import choose_prepare
from striate.data.source import Source, Split
from striate.data.store import Store, decode
from striate.errors import BadData

Severity = Literal["error", "warning", "note"]

Member = tuple[str, int]
"""A picture: its split, and its place in the split's store."""

LOOK = 64
"""The side of the pictures that are looked at, where the data has no small size of its own."""

MANY_TIMES = 10
"""A class this many times as large as another is worth a note."""

FLAT = 2.0
"""A picture whose grey levels (0..255) deviate less than this from their mean shows nothing."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    kind: str
    """`unreadable`, `duplicate`, `leak`, `conflict`, `empty`, `imbalance`, `flat`, `label`, `permuted`..."""
    severity: Severity
    message: str
    """One line."""
    files: tuple[str, ...] = ()
    split: str = ""
    suggestion: str = ""
    rows: tuple[int, ...] = ()
    """Places of `files` in the split, in the same order, where they have one."""
    suggested: tuple[str, ...] = ()
    """For doubtful labels: what each of `files` looks like."""


@dataclass
class Examination:
    """What a data set says about itself, and the findings, the worst first."""

    name: str
    path: str
    format: str
    splits: dict[str, dict[str, Any]]
    """Split -> {"images", "unreadable", "classes": {name: count}}."""
    sizes: dict[str, list[int]]
    """Height and width of the smallest, the median and the largest picture (of those looked at)."""
    colour: bool
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        plain = asdict(self)
        plain["healthy"] = not any(f.severity == "error" for f in self.findings)
        return plain


def examine(
    source: Source,
    stores: dict[str, Store] | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Examination:
    """Look at every picture of every split.

    Args:
        stores: the splits already decoded at any one size; decoded here without.
        quick: only what takes a second: no doubts about labels, no sizes of files.
        seed: which pictures are looked at where not all are.
        progress: `progress(split)` gives the function that the decoding reports to.
    """
    stores = stores if stores is not None else look(source, progress)
    splits = {name: _counts(source, name, store) for name, store in stores.items()}
    sizes, colour = _sizes(source, stores, most=0 if quick else 2000)
    report = Examination(source.name, str(source.path), source.format, splits, sizes, colour)
    report.findings += [f for name, store in stores.items() for f in _unreadable(name, store)]
    report.findings += [f for name, store in stores.items() for f in _flat(name, store)]
    if "label" in next(iter(stores.values())).targets:
        report.findings += _balance(splits)
        report.findings += duplicates(source, stores)
        if not quick:
            from striate.data.suspects import doubts

            report.findings += doubts(source, stores, seed)
    report.findings += [Finding("reading", "note", line) for line in source.warnings]
    order = {"error": 0, "warning": 1, "note": 2}
    report.findings.sort(key=lambda f: order[f.severity])
    return report


def summary(report: Examination) -> str:
    """One line: what it is and what was found."""
    names = next(iter(report.splits.values()))["classes"]
    counts = ", ".join(f"{name} {split['images']:,}" for name, split in report.splits.items())
    total = sum(split["images"] for split in report.splits.values())
    head = (
        f"{total:,} pictures in {len(names)} classes ({counts})"
        if names
        else f"{total:,} pictures ({counts})"
    )
    wrong = [f.message for f in report.findings if f.severity != "note"]
    more = f"; and {len(wrong) - 2} more: striate data says which" if len(wrong) > 2 else ""
    return f"{head}; " + ("; ".join(wrong[:2]) + more if wrong else "nothing wrong at a glance")


def look(
    source: Source, progress: Callable[[str], Callable[[int, int], None]] | None = None
) -> dict[str, Store]:
    """Every split decoded small; a split of which nothing can be read is kept, empty of pictures."""
    prepare = choose_prepare(source)
    if prepare.margin:
        prepare = replace(prepare, size=(LOOK, LOOK), margin=0)
    stores = {}
    for name, split in source.splits.items():
        try:
            stores[name] = decode(
                split, prepare, lambda raw, _: raw, progress=progress(name) if progress else None
            )
        except BadData as error:
            raise BadData(f"{source.name}: {name}: {error}") from error
    return stores


def names_of(source: Source) -> list[str]:
    """The classes' names, at least as text of their numbers."""
    return [str(name) for name in source.classes]


def labels_of(store: Store) -> np.ndarray:
    """int64 (N,)."""
    return np.asarray(store.targets["label"], dtype=np.int64)


def _counts(source: Source, name: str, store: Store) -> dict[str, Any]:
    found: dict[str, Any] = {"images": len(store), "unreadable": len(store.left_out), "classes": {}}
    if "label" in store.targets:
        counts = np.bincount(labels_of(store), minlength=len(source.classes))
        found["classes"] = {label: int(n) for label, n in zip(names_of(source), counts, strict=False)}
    return found


def _sizes(source: Source, stores: dict[str, Store], most: int) -> tuple[dict[str, list[int]], bool]:
    """Sizes of the pictures on disk, by area, from up to `most` headers, and whether any has colour."""
    store = next(iter(stores.values()))
    colour = store.images.shape[1] == 3
    originals = np.concatenate([s.fit.original for s in stores.values()])
    if most:
        files = [f for s in source.splits.values() if isinstance(s.images, list) for f in s.images]
        seen = [header(encoded(f)) for f in files[:: max(1, len(files) // most)][:100] if f.path.is_file()]
        colour = any(found[2] for found in seen if found) if any(seen) else colour
    order = originals[np.argsort(originals.prod(axis=1), kind="stable")]
    picked = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    return {key: [int(n) for n in value] for key, value in picked.items()}, colour


def _unreadable(split: str, store: Store) -> Iterator[Finding]:
    if store.left_out:
        files = tuple(line.split(": ")[0] for line in store.left_out)
        text = f"{split}: {_count(len(files), 'unreadable picture')}: {store.left_out[0]}"
        yield Finding("unreadable", "error", text, files, split, "delete them, or fetch them again")


def _flat(split: str, store: Store, chunk: int = 4096) -> Iterator[Finding]:
    """Pictures that show nothing, or a split whose pictures are all alike."""
    images = store.images.cpu()
    spread = np.concatenate([part.float().flatten(1).std(1).numpy() for part in images.split(chunk)])
    rows = np.flatnonzero(spread < FLAT)
    if len(rows):
        files = tuple(store.names[i] for i in rows)
        text = f"{split}: {_count(len(rows), 'picture')} of one flat colour: {files[0]}"
        severity: Severity = "error" if len(rows) > len(store) / 2 else "warning"
        yield Finding(
            "flat",
            severity,
            text,
            files,
            split,
            "look whether they were saved correctly",
            tuple(map(int, rows)),
        )
    some = images[:: max(1, len(images) // 512)].float()
    if len(some) > 1 and float(some.std(0).mean()) < FLAT:
        yield Finding("alike", "error", f"{split}: all pictures look alike", (), split, "look at the mosaic")


def _balance(splits: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    for split, found in splits.items():
        counts = found["classes"]
        empty = [name for name, n in counts.items() if n == 0]
        if empty:
            severity: Severity = "error" if split in ("train", "all") else "warning"
            text = f"{split}: no picture of {', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}"
            yield Finding("empty", severity, text, (), split, "add pictures, or remove the class everywhere")
        full = {name: n for name, n in counts.items() if n}
        if full and max(full.values()) > MANY_TIMES * min(full.values()):
            least, most = min(full, key=full.__getitem__), max(full, key=full.__getitem__)
            text = f"{split}: unbalanced: {full[most]:,} of {most}, {full[least]:,} of {least}"
            yield Finding("imbalance", "note", text, (), split, "judge by the accuracy of each class")


def duplicates(source: Source, stores: dict[str, Store]) -> list[Finding]:
    """Pictures with the same pixels: across splits (a leak), within one, and with different labels."""
    same = same_pixels(stores)
    labels = {split: labels_of(store) for split, store in stores.items()}
    conflicts = [g for g in same if len({int(labels[split][row]) for split, row in g}) > 1]
    leaks = [g for g in same if len({split for split, _ in g}) > 1]
    within = Counter(
        s for g in same for s, n in Counter(split for split, _ in g).items() for _ in range(n - 1)
    )
    found = []
    if conflicts:
        text = f"{_count(len(conflicts), 'picture')} with the same pixels and different labels: "
        text += _pair(stores, conflicts[0])
        found.append(
            _about_groups("conflict", "error", text, stores, conflicts, "decide which label is right")
        )
    if leaks:
        text = f"{_count(len(leaks), 'picture')} in more than one split: {_pair(stores, leaks[0])}"
        found.append(
            _about_groups("leak", "error", text, stores, leaks, "--fix takes the copies out of train")
        )
    for split, count in within.items():
        groups_here = [[m for m in g if m[0] == split] for g in same]
        groups_here = [g for g in groups_here if len(g) > 1]
        text = f"{split}: {_count(count, 'duplicate')}: {_pair(stores, groups_here[0])}"
        found.append(
            _about_groups("duplicate", "warning", text, stores, groups_here, "--fix keeps the first", split)
        )
    return found


def same_pixels(stores: dict[str, Store], glance: int = 4096) -> list[list[Member]]:
    """Groups of pictures that are alike in every pixel: a glance at some pixels first, then at all."""
    seen: dict[bytes, list[Member]] = {}
    pixels = {name: store.images.cpu().numpy().reshape(len(store), -1) for name, store in stores.items()}
    for split, flat in pixels.items():
        some = flat[:, :: max(1, flat.shape[1] // glance)]
        for row in range(len(flat)):
            seen.setdefault(hashlib.blake2b(some[row].tobytes(), digest_size=16).digest(), []).append(
                (split, row)
            )
    groups = []
    for alike in (group for group in seen.values() if len(group) > 1):
        whole: dict[bytes, list[Member]] = {}
        for split, row in alike:
            whole.setdefault(pixels[split][row].tobytes(), []).append((split, row))
        groups += [group for group in whole.values() if len(group) > 1]
    return groups


def _about_groups(
    kind: str,
    severity: Severity,
    text: str,
    stores: dict[str, Store],
    groups: list,
    suggestion: str,
    split: str = "",
) -> Finding:
    files = tuple(_name(stores, member) for group in groups for member in group)
    return Finding(kind, severity, text, files, split, suggestion)


def _pair(stores: dict[str, Store], group: list[Member]) -> str:
    return " = ".join(_name(stores, member) for member in group[:3])


def _name(stores: dict[str, Store], member: Member) -> str:
    """The file, or `train #17` where a set has no files."""
    split, row = member
    name = stores[split].names[row]
    return f"{split} {name}" if name.startswith("#") else name


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def rows_kept(split: Split, store: Store) -> list[int]:
    """Which pictures of a split its store holds: all but the unreadable ones."""
    if len(split) == len(store):
        return list(range(len(split)))
    held, kept = iter(store.names), []
    wanted = next(held, None)
    for row in range(len(split)):
        if split.name(row) == wanted:
            kept.append(row)
            wanted = next(held, None)
    return kept
