"""The doctor's report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image, ImageDraw

from fusionzoo.data.ct_windows import shrink
from fusionzoo.data.dicom_series import SetAside
from fusionzoo.data.doctor import Examined, Report
from fusionzoo.data.lung_patients import LETTERS

#: Pixels of a thumbnail, the HU that are black and white in it, and how many a page has at most.
THUMBNAIL, WINDOW_HU, MOST = 144, (-1000.0, 400.0), 400
_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c2127, #e6e8eb); --soft: light-dark(#5c6670,
#9aa4af); --page: light-dark(#fff, #14171a); --card: light-dark(#f4f6f8, #1e2328); --line:
light-dark(#dde2e7, #343b43); --good: light-dark(#1a7f4b, #5fce95); --look: light-dark(#8a5a00,
#e7b04c); --bad: light-dark(#b42318, #ff8a7d); --bar: light-dark(#3b6fb6, #7aa7e6); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
max-width: 72rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p.path { color: var(--soft); margin: .2rem 0 1.4rem; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
padding: .6rem 1rem; min-width: 7rem; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile span, small, .soft { color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
vertical-align: top; overflow-wrap: anywhere; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars { width: 14rem; } td:first-child { white-space: nowrap; }
.bar { background: var(--bar); height: .6rem; border-radius: .3rem; min-width: 2px; }
ul.checks { list-style: none; padding: 0; margin: 0; }
ul.checks li { padding: .25rem 0 .25rem 4.2rem; text-indent: -4.2rem; }
ul.checks b { display: inline-block; width: 4.2rem; text-indent: 0; }
.good { color: var(--good); } .look { color: var(--look); } .bad { color: var(--bad); }
.cards { display: grid; gap: .9rem;
grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
overflow: hidden; font-size: .82rem; } .card div { padding: .5rem .7rem .6rem; }
.card img { display: block; width: 100%; background: #000; aspect-ratio: 1; object-fit: contain; }
.card b { font-size: .95rem; }
"""


def page(report: Report) -> str:
    """The report as HTML, with a picture of each series; it follows the reader's light or dark."""
    title = f"Data: {report.path.name or report.path}"
    parts = [
        f"<h1>{escape(title)}</h1><p class='path'>{escape(str(report.path))}</p>",
        _tiles(report),
        "<h2>Checks</h2>",
        _checks(report),
        "<h2>Classes</h2>",
        _classes(report),
        "<h2>Set aside</h2>",
        _set_aside(report),
        "<h2>Transfer syntaxes of what is used</h2>",
        _table(("encoding", "series"), [(escape(n), c) for n, c in report.syntaxes()]),
        f"<h2>Series</h2>{_series(report.examined)}",
    ]
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    return (
        f"<!doctype html><html lang='en'><head>{head}<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _tiles(report: Report) -> str:
    facts = [one.series.facts for one in report.examined]
    boxed = sum(bool(one.boxes) for one in report.examined)
    numbers = (
        ("patients", len({one.patient_id for one in facts})),
        ("series to use", len(facts)),
        ("slices to use", sum(one.shape[0] for one in facts)),
        ("series with boxes", boxed),
        ("files set aside", sum(aside.num_files for aside in report.set_aside)),
        ("other files", sum(report.others.values())),
    )
    tiles = [f"<div class='tile'><b>{n:,}</b><span>{name}</span></div>" for name, n in numbers]
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _checks(report: Report) -> str:
    rows = [
        f"<li><b class='{check.verdict}'>{check.verdict}</b>{escape(check.text)}</li>"
        for check in report.checks
    ]
    return f"<ul class='checks'>{''.join(rows)}</ul>"


def _classes(report: Report) -> str:
    rows = report.classes()
    most = max((row[1] for row in rows), default=1)
    bars = [
        f"<div class='bars'><div class='bar' style='width:{100 * row[1] / most:.0f}%'></div></div>"
        for row in rows
    ]
    cells = [(escape(row[0]), *row[1:], bar) for row, bar in zip(rows, bars, strict=True)]
    return _table(("class", "patients", "series", "slices", "patients with boxes", ""), cells)


def _set_aside(report: Report) -> str:
    if not report.set_aside:
        return "<p>Nothing.</p>"
    rows = [
        (escape(kind), files, _example(example), escape(example.remedy))
        for kind, files, example in report.reasons()
    ]
    return _table(("reason", "files", "for example", "what to do"), rows)


def _example(aside: SetAside) -> str:
    place = "/".join(aside.where.parts[-3:])
    return f"{escape(aside.text)}.<br><small>{escape(place)}</small>"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Numbers to the right; every other cell is HTML already."""
    told = [list(row) for row in rows]
    numeric = [bool(told) and all(isinstance(r[k], int) for r in told) for k in range(len(header))]

    def line(tag: str, cells: Sequence[object]) -> str:
        kinds = [" class='n'" if number else "" for number in numeric]
        shown = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells]
        inner = (f"<{tag}{k}>{c}</{tag}>" for k, c in zip(kinds, shown, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(line("td", row) for row in told)
    return f"<div class='scroll'><table>{line('th', header)}{body}</table></div>"


def _series(examined: Sequence[Examined]) -> str:
    cards = "".join(_card(one) for one in examined[:MOST])
    rest = len(examined) - MOST
    more = f"<p class='soft'>And {rest} more series.</p>" if rest > 0 else ""
    return f"<div class='cards'>{cards}</div>{more}"


def _card(one: Examined) -> str:
    facts = one.series.facts
    depth, height, width = facts.shape
    millimetres = " × ".join(f"{mm:.3g}" for mm in facts.spacing_mm)
    boxes = f"{len(one.boxes)} slices with boxes" if one.boxes else "no boxes"
    kind = LETTERS.get(one.letter, "no class in the id").replace("_", " ")
    patient = escape(facts.patient_id.removeprefix("Lung_Dx-") or "no id")
    return (
        f"<div class='card'><img alt='slice {one.shown + 1} of {depth}' src='{thumbnail(one)}'>"
        f"<div><b>{patient}</b> <span class='soft'>{kind}</span><br>{depth} slices of "
        f"{height} × {width}<br>{millimetres} mm<br>{boxes}<br>"
        f"<span class='soft'>{escape(facts.description) or 'no description'}</span></div></div>"
    )


def thumbnail(one: Examined) -> str:
    """One slice as a PNG data URI, with its boxes."""
    (values,) = one.series.hounsfield([one.shown])
    height, width = values.shape
    spacing = one.series.facts.spacing_mm[1:]
    scale = THUMBNAIL / max(height * spacing[0], width * spacing[1])
    size = [max(1, round(n * mm * scale)) for n, mm in zip(values.shape, spacing, strict=True)]
    low, high = WINDOW_HU
    small = np.clip((shrink(values[None], size)[0] - low) / (high - low), 0, 1)
    image = Image.fromarray(np.round(255 * small).astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for box in one.boxes.get(one.shown, ()):
        across, down = size[1] / width, size[0] / height
        corners = (box.left * across, box.top * down, box.right * across, box.bottom * down)
        draw.rectangle(corners, outline=(255, 190, 60), width=2)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
