"""`faces/report.html`: what was used, what was held out, what was left out and why."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from fapvideo.structs import Array
from fapvideo.training.faces.examine import Finding, thumbnail

SHOWN_USED, SHOWN_HELDOUT, SHOWN_DROPPED = 150, 60, 150
"""Thumbnails at most; the page says how many are not shown."""
SHOWN_ROWS = 200
"""Rows of a table at most."""

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { padding: .15rem .9rem .15rem 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } th { font-weight: 600; }
.grid { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; width: 6.5rem; font-size: .7rem; line-height: 1.25; overflow-wrap: anywhere; }
img { display: block; max-width: 72px; border-radius: 4px; }
.none { width: 72px; height: 72px; border: 1px dashed #8888; border-radius: 4px; }
p.more { opacity: .7; }
"""


def faces_page(findings: Sequence[Finding], crops: Array) -> str:
    """Return a page that needs no other file; the findings' faces are the rows of `crops`."""
    faces = [(finding, name) for finding in findings for name in finding.names]
    dropped = [finding for finding in findings if finding.reason]
    counts = Counter(_reason(finding) for finding in dropped)
    held = [row for row, (finding, _) in enumerate(faces) if finding.heldout]
    used = [row for row, (finding, _) in enumerate(faces) if not finding.heldout]

    def shown(rows: list[int], count: int) -> str:
        figures = (_figure(thumbnail(crops[row]), faces[row][1]) for row in spread(rows, count))
        return _grid(figures, len(rows), count)

    body = [
        "<h1>Faces for training</h1>",
        f"<p>{len(faces)} faces from {len(findings) - len(dropped)} of {len(findings)} files:"
        f" {len(used)} to train on, {len(held)} held out. {len(dropped)} files are left out.</p>",
        _table("Why files are left out", ("reason", "files"), counts.most_common()),
        _people(findings),
        _videos(findings),
        f"<h2>Trained on ({len(used)})</h2>",
        shown(used, SHOWN_USED),
        f"<h2>Held out: measured on, never trained on ({len(held)})</h2>",
        shown(held, SHOWN_HELDOUT),
        _left_out(dropped),
    ]
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    title = "<title>Faces for training</title>"
    text = "\n".join(part for part in body if part)
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}{title}<style>{STYLE}</style></head>\n"
        f"<body>\n{text}\n</body></html>\n"
    )


def spread(rows: list[int], count: int) -> list[int]:
    """Return at most `count` of `rows`, evenly spread over them."""
    if len(rows) <= count:
        return rows
    return [rows[i * len(rows) // count] for i in range(count)]


def _left_out(dropped: list[Finding]) -> str:
    """Return the files that are of no use, those of the same reason together."""
    if not dropped:
        return ""
    ordered = sorted(dropped, key=_reason)  # stable: by name within a reason
    figures = (
        _figure(ordered[row].thumbnail, ordered[row].source.name, ordered[row].reason)
        for row in spread(list(range(len(ordered))), SHOWN_DROPPED)
    )
    grid = _grid(figures, len(ordered), SHOWN_DROPPED)
    return f"<h2>Left out ({len(dropped)})</h2>\n{grid}"


def _reason(finding: Finding) -> str:
    return finding.reason.partition(":")[0]


def _people(findings: Sequence[Finding]) -> str:
    faces, held = Counter[str](), Counter[str]()
    for finding in findings:
        if finding.person and finding.names:
            faces[finding.person] += len(finding.names)
            held[finding.person] += len(finding.names) * finding.heldout
    rows = [(person, count, held[person]) for person, count in faces.most_common()]
    return _table("People", ("person", "faces", "held out"), rows)


def _videos(findings: Sequence[Finding]) -> str:
    rows = []
    for finding in findings:
        if finding.source.is_video:
            reasons = ", ".join(f"{count} {reason}" for reason, count in finding.reasons.items())
            why = reasons or finding.reason
            rows.append((finding.source.name, finding.looked_at, len(finding.names), why))
    return _table("Videos", ("video", "frames looked at", "used", "of no use"), rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Return a titled table; nothing where it has no rows."""
    if not rows:
        return ""
    lines = ["<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows[:SHOWN_ROWS]]
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    more = _more(len(rows) - SHOWN_ROWS)
    return f"<h2>{title}</h2>\n<table><tr>{top}</tr>\n" + "\n".join(lines) + f"</table>\n{more}"


def _cell(value: str | int) -> str:
    return f"<td class='n'>{value}</td>" if isinstance(value, int) else f"<td>{escape(value)}</td>"


def _grid(figures: Iterable[str], total: int, count: int) -> str:
    return "<div class='grid'>\n" + "\n".join(figures) + f"\n</div>\n{_more(total - count)}"


def _more(left: int) -> str:
    return f"<p class='more'>{left} more are not shown.</p>" if left > 0 else ""


def _figure(jpeg: bytes, name: str, reason: str = "") -> str:
    source = b64encode(jpeg).decode("ascii")
    image = f"<img alt='' src='data:image/jpeg;base64,{source}'>" if jpeg else "<div class='none'>"
    end = "" if jpeg else "</div>"
    why = f"<br>{escape(reason)}" if reason else ""
    return f"<figure>{image}{end}<figcaption><b>{escape(name)}</b>{why}</figcaption></figure>"
