"""The report of a run: one HTML file that shows everything and needs nothing, and the pictures as files.

The page holds its pictures, asks no other host for anything and runs no script; it reads on a telephone, in
the dark and on paper. Whatever a user named (classes, files, layers) is escaped.
"""

import re
import shlex
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from striate.task import PERCENT, Picture
from striate.training.charts import curves, filters_picture
from striate.training.checkpoint import replace_whole, write_text
from striate.training.page import PAGE, STYLE

__all__ = ["filters_picture", "write_report"]

HEADLINE = "accuracy top5 map map50 miou pck pcp bleu4 cider score loss calibration_error images".split()
"""Figures that come first, in this order; then all others in the order given."""

UNITS = {"seconds": " s"}


def write_report(
    folder: Path,
    *,
    title: str,
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    table: dict[str, Any] | None,
    pictures: list[Picture],
    settings: dict[str, Any] | None = None,
) -> Path:
    """Write `folder/report.html` and `folder/report/*.png`, `*.svg`, each replaced whole; returns the page.

    `summary`: numbers become the headline figures, texts (`data`, `net`, ...) the line under the title.
    `rows`: one dict an epoch, as in `metrics.jsonl`. `table`: `striate describe --json`'s, the layers.
    `settings`: nested plain JSON, shown folded; without it `summary["recipe"]` is.
    """
    charts = curves(rows)
    texts = {k: v for k, v in summary.items() if isinstance(v, str)}
    settings = settings if settings is not None else summary.get("recipe")
    body = [
        _head(title, texts),
        _figures(summary),
        _section("Training", "".join(_card(name, svg) for name, svg in charts.items()), "cards"),
        "".join(map(_picture, pictures)),
        _layers(table),
        _settings(settings),
        _next_steps(folder, texts.get("data"), settings),
    ]
    for name, svg in zip(_names(charts), charts.values(), strict=True):
        write_text(folder / "report" / f"{name}.svg", svg)
    for name, picture in zip(_names(p.title for p in pictures), pictures, strict=True):
        png = picture.png
        replace_whole(folder / "report" / f"{name}.png", lambda part, png=png: part.write_bytes(png))
    page = folder / "report.html"
    write_text(page, PAGE.format(title=escape(title), style=STYLE, body="\n".join(filter(None, body))))
    return page


def _names(titles: Iterable[str]) -> list[str]:
    """File names that say what a picture shows: letters, digits and dashes, no two alike."""
    names: list[str] = []
    for title in titles:
        plain = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-") or "picture"
        same = sum(name == plain or re.fullmatch(f"{plain}-[0-9]+", name) is not None for name in names)
        names.append(f"{plain}-{same + 1}" if same else plain)
    return names


def _words(key: str) -> str:
    return escape(str(key).replace("_", " "))


def _value(key: str, value: Any) -> str:
    """A figure as text: shares in percent, whole numbers in groups of three, the unit behind it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" + UNITS.get(key, "")
    if not isinstance(value, float):
        return escape(str(value))
    if key in PERCENT:
        return f"{100 * value:.2f} %"
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}") + UNITS.get(key, "")


def _section(title: str, inside: str, kind: str = "") -> str:
    return f'<section><h2>{escape(title)}</h2><div class="{kind}">{inside}</div></section>' if inside else ""


def _head(title: str, texts: dict[str, str]) -> str:
    facts = " · ".join(f"{_words(key)} {escape(value)}" for key, value in texts.items() if value)
    return f'<header><h1>{escape(title)}</h1><p class="soft">{facts}</p></header>'


def _figures(summary: dict[str, Any]) -> str:
    """The headline numbers as tiles, the first one large."""
    numbers = [key for key, value in summary.items() if isinstance(value, int | float)]
    order = [key for key in HEADLINE if key in numbers] + [key for key in numbers if key not in HEADLINE]
    tiles = (f"<div><dt>{_words(key)}</dt><dd>{_value(key, summary[key])}</dd></div>" for key in order)
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if order else ""


def _card(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _picture(picture: Picture) -> str:
    """One picture inside the page, at half its pixels' size: sharp on fine screens."""
    data = b64encode(picture.png).decode("ascii")
    width = int.from_bytes(picture.png[16:20], "big") // 2  # PNG: the header's first number
    title, caption = escape(picture.title), escape(picture.caption)
    image = f'<img src="data:image/png;base64,{data}" alt="{title}: {caption}" style="width:{width}px">'
    return f'<section><h2>{title}</h2><p class="soft">{caption}</p>{image}</section>'


COLUMNS = {
    "name": "layer",
    "kind": "kind",
    "output": "output",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "receptive_field": "receptive field",
}


def _layers(table: dict[str, Any] | None) -> str:
    """The layer table with its totals; it scrolls sideways where the screen is narrow."""
    if not table or not table.get("layers"):
        return ""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS.values())
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(layer.get(key))}</td>" for key in COLUMNS) + "</tr>"
        for layer in table["layers"]
    )
    totals = {"name": "all", "output": table.get("output")} | {
        key: table.get(key) for key in ("parameters", "multiply_adds")
    }
    foot = "".join(f"<td>{_cell(totals.get(key, ''))}</td>" for key in COLUMNS)
    inside = (
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody><tfoot><tr>{foot}</tr></tfoot></table>"
    )
    return _section("Layers", inside, "wide")


def _cell(value: Any) -> str:
    """Sizes as 16×28×28, numbers in groups of three, nothing as nothing."""
    if isinstance(value, list | tuple):
        return "×".join(escape(str(part)) for part in value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else escape(str(value))


def _settings(settings: dict[str, Any] | None) -> str:
    """Everything the run was told, folded: nested settings in rows of their own."""
    if not settings:
        return ""
    flat = {}
    for key, value in settings.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    rows = "".join(
        f"<tr><th>{_words(key)}</th><td>{escape(_plain(value))}</td></tr>" for key, value in flat.items()
    )
    return f'<details><summary>Settings</summary><div class="wide"><table>{rows}</table></div></details>'


def _plain(value: Any) -> str:
    """A setting as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "auto", True: "yes", False: "no"}[value]
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _next_steps(folder: Path, data: str | None, settings: dict[str, Any] | None) -> str:
    """Commands that use the model, ready to copy."""
    run = shlex.quote(str(folder))
    data = str((settings or {}).get("data") or data or "DATA")
    lines = [
        (f"striate predict {run} PICTURE... --out seen", "name what is on other pictures, and draw it"),
        (f"striate evaluate {run} --data {shlex.quote(data)}", "the figures again, or on other data"),
        (f"striate describe {run}", "the arithmetic of every layer"),
    ]
    code = (
        f"import striate as st\nrun = st.load({str(folder)!r})\n"
        "run.predict('picture.png')[0].draw().save('seen.png')"
    )
    items = "".join(f"<p>{escape(why)}</p><pre>{escape(line)}</pre>" for line, why in lines)
    return _section("Use it", f"{items}<p>in Python</p><pre>{escape(code)}</pre>")
