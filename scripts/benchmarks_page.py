"""Write docs/benchmarks.md from benchmarks/results/*.json, and tables of three other pages.

docs/evaluation.md has the metrics and their validation, the model card of the embedded bundle what
it does on photos whose truth is known, README how fast it is.

python scripts/benchmarks_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.metrics.groups import all_definitions
from fapvideo.evaluation.report.benchmark import KIND
from fapvideo.evaluation.report.table import SIGNS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
EVALUATION_PAGE = ROOT / "docs" / "evaluation.md"
README = ROOT / "README.md"
CARD = ROOT / "fapvideo" / "bundles" / "embedded" / "MODEL_CARD.md"
VALIDATION = "metric_validation"
REQUIRED = ("what", "command", "date", "commit", "machine")
"""What every result has to say."""
HEAD = """# Benchmarks

Every number of this project comes from a file in `benchmarks/results`, which names the command that
found it, the machine, the date and the commit. This page is generated from those files
(`python scripts/benchmarks_page.py`); what the metrics mean is in [evaluation.md](evaluation.md).
"""


def benchmarks_page() -> str:
    """Return the whole of docs/benchmarks.md."""
    sections = [section(path) for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([HEAD, *sections])


def section(path: Path) -> str:
    """Return one file of results as text."""
    result = json.loads(path.read_text("utf-8"))
    title = path.stem.replace("_", " ")
    lines = [f"## {title[0].upper()}{title[1:]}", "", f"{result['what']}", ""]
    lines += [f"- Command: `{result['command']}`"]
    lines += [f"- Machine: {in_words(result['machine'])}"]
    lines += [f"- {result['date']}, commit `{result['commit']}` (`{path.relative_to(ROOT)}`)", ""]
    if result.get("kind") == KIND:
        lines += systems_tables(result)
    else:
        rest = {key: value for key, value in result.items() if key not in (*REQUIRED, "kind")}
        lines += anything(rest)
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------- suites


def systems_tables(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the headline metrics of a suite: the mean over clips, then clip by clip."""
    rows = result["measurements"]
    systems = list(dict.fromkeys(row["system"] for row in rows))
    clips = list(dict.fromkeys(row["clip"] for row in rows))
    keys = [key for key in result["headline"] if any(key in row["values"] for row in rows)]
    if len(clips) > 1:
        yield f"### Mean over {', '.join(clips)}"
        yield ""
        means = {system: mean([r["values"] for r in rows if r["system"] == system], keys)
                 for system in systems}  # fmt: skip
        yield from metric_table(keys, means)
    for clip in clips:
        found = {row["system"]: row["values"] for row in rows if row["clip"] == clip}
        frames = next(row["frames"] for row in rows if row["clip"] == clip)
        yield f"### {clip} ({frames} {'photos' if clip == 'pairs' else 'frames'})"
        yield ""
        yield from metric_table(keys, found)
    spent = {
        system: {r["clip"]: r["cpu_s"] for r in rows if r["system"] == system and r["cpu_s"]}
        for system in systems
    }
    if any(spent.values()):
        yield "### CPU seconds of making"
        yield ""
        cells = [[system, *(number(spent[system].get(clip)) for clip in clips)]
                 for system in systems if spent[system]]  # fmt: skip
        yield from table(["system", *clips], cells)
    if any(result.get("conditions", {}).values()):
        system = systems[0]
        yield f"### {system} by head turn (yaw) and occlusion (presence)"
        yield ""
        rows = result["conditions"][system]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[in_words(row.get(name, "")) for name in columns] for row in rows]
        yield from table(columns, cells)
    for note in result["notes"]:
        yield f"- {note}"


def metric_table(keys: Sequence[str], found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield a table with metrics as rows and systems as columns; the best of a row is bold."""
    rows = []
    for key in keys:
        definition = definition_of(key)
        values = [values.get(key) for values in found.values()]
        if all(value is None for value in values):
            continue
        best = best_of(values, definition)
        cells = [f"**{number(v)}**" if v is not None and v == best else number(v) for v in values]
        name, sign, unit = key, "", ""
        if definition is not None:
            name, sign, unit = definition.title, SIGNS[definition.better], definition.unit
        rows.append([f"{name} {sign} (`{key}`)", unit, *cells])
    yield from table(["metric", "unit", *found], rows)


def best_of(values: Sequence[float | None], definition: Definition | None) -> float | None:
    """Return the best of several values, None where there is nothing to choose."""
    known = [value for value in values if value is not None]
    if definition is None or len(set(known)) < 2:
        return None
    if definition.better == "one":
        return min(known, key=lambda value: abs(value - 1))
    return max(known) if definition.better == "higher" else min(known)


def mean(rows: Sequence[Mapping[str, float]], keys: Sequence[str]) -> dict[str, float]:
    """Return the mean of each key over the rows that have it."""
    found = {key: [row[key] for row in rows if key in row] for key in keys}
    return {key: sum(values) / len(values) for key, values in found.items() if values}


def definition_of(key: str) -> Definition | None:
    """Return what a key means today; a metric may have been renamed since."""
    return next((item for item in all_definitions() if item.fits(key)), None)


# ------------------------------------------------------------------------------------ anything


def anything(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield any JSON object as a list, and what is tabular in it as tables."""
    for key, item in value.items():
        rows = as_rows(item)
        if rows is None:
            yield f"- {key.replace('_', ' ')}: {in_words(item)}"
            continue
        yield ""
        yield f"**{key.replace('_', ' ')}**"
        yield ""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[in_words(row.get(name, "")) for name in columns] for row in rows]
        yield from table([name.replace("_", " ") for name in columns], cells)


def as_rows(value: Any) -> list[dict[str, Any]] | None:
    """Return a list of objects, or an object of objects, as rows of a table; else None."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    if isinstance(value, dict) and value and all(isinstance(i, dict) for i in value.values()):
        return [{"": name, **item} for name, item in value.items()]
    return None


def in_words(value: Any) -> str:
    """Return a JSON value in one line of Markdown."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {in_words(v)}" for name, v in value.items())
    if isinstance(value, list):
        return ", ".join(in_words(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value).replace("|", "\\|")
    return number(value)


def number(value: float | None) -> str:
    """Return a number with about three digits."""
    if value is None:
        return ""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    digits = next((d for d, least in ((1, 100.0), (2, 10.0), (3, 0.0)) if abs(value) >= least), 3)
    return f"{value:.{digits}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table and an empty line."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


# ------------------------------------------------------------------------------ evaluation page


def metrics_table() -> str:
    """Return the table of all metrics."""
    rows = [
        [
            f"`{item.key}`" + (" ●" if item.headline else ""),
            item.title,
            item.unit,
            SIGNS[item.better],
            item.meaning,
            item.source,
        ]
        for item in all_definitions()
    ]
    return "\n".join(table(["key", "metric", "unit", "better", "meaning", "source"], rows))


def validation_table() -> str:
    """Return what the validation of the part similarity found."""
    path = RESULTS / f"{VALIDATION}.json"
    return section(path).partition("\n")[2] if path.is_file() else "Not yet.\n"


def evaluation_page(page: str) -> str:
    """Return docs/evaluation.md with fresh tables between its marks."""
    return marked(page, {"metrics": metrics_table(), "validation": validation_table()})


def marked(page: str, tables: Mapping[str, str]) -> str:
    """Return `page` with `tables` between the marks of their names."""
    for name, text in tables.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, found, rest = page.partition(begin)
        if not found:
            raise SystemExit(f"a page has no mark {begin}")
        page = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return page


# ---------------------------------------------------------------------------------- model card

CARD_SYSTEMS = {
    "paste": "pasted",
    "affine + Poisson": "affine fit and Poisson cloning (`cv2.seamlessClone`)",
    "guide alone (no network)": "guide alone, no network",
    "guide, no injection": "network without injection",
    "guide and injection, 1 step": "**as it runs: guide and injection, 1 step**",
    "4 steps": "4 steps",
    "the bundle before": "the third version, from CelebA's photos",
}
"""Rows of `photo_truth` -> what the card calls them."""
CARD_PHOTOS = {"portraits": "photo_truth_portraits", "celeba": "photo_truth"}
"""Photos that the card has tables of -> the file of results."""


def card_page(page: str) -> str:
    """Return the model card of the embedded bundle with fresh tables between its marks."""
    tables = {}
    for photos, name in CARD_PHOTOS.items():
        result = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        tables[f"compared {photos}"] = compared_table(result)
        tables[f"groups {photos}"] = groups_table(result)
    return marked(page, tables)


def compared_table(result: Mapping[str, Any]) -> str:
    """Return what a user would do without the bundle, against it."""
    heads = ["", "PSNR in the hole, dB", "LPIPS in the hole", "seam, dE",
             "likeness to the photo's part", "Frechet distance in the hole"]  # fmt: skip
    keys = ("psnr", "lpips", "seam", "likeness", "frechet_mask")
    rows = [
        [title, *(number(result["systems"][name][key]) for key in keys)]
        for name, title in CARD_SYSTEMS.items()
        if name in result["systems"]
    ]
    gains = (
        f"{what} {mean:+.4f} [{low:.4f}, {high:.4f}]"
        for what, (mean, low, high) in (
            ("PSNR in dB", result["injection"]["psnr"]),
            ("LPIPS", result["injection"]["lpips"]),
            ("likeness", result["injection"]["likeness"]),
        )
    )
    told = f"What injection is worth, sample by sample with 95 % intervals: {', '.join(gains)}."
    return "\n".join([*table(heads, rows), told, ""])


def groups_table(result: Mapping[str, Any]) -> str:
    """Return how groups of people fare."""
    heads = ["group of held-out photos", "photos", "PSNR, dB", "LPIPS", "times the mean",
             "likeness"]  # fmt: skip
    keys = ("photos", "psnr", "lpips", "lpips, times the mean", "likeness")
    rows = [
        [name, *(number(values[key]) for key in keys)] for name, values in result["people"].items()
    ]
    fairness = result["fairness"]
    worst = number(fairness["lpips, times the mean"])
    told = f"The largest is {worst} times the mean (wanted: at most {fairness['limit']})."
    return "\n".join([*table(heads, rows), told, ""])


# -------------------------------------------------------------------------------------- README


def readme_page(page: str) -> str:
    """Return README.md with a fresh table of speed between its marks."""
    result = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    return marked(page, {"speed": speed_table(result)})


def speed_table(result: Mapping[str, Any]) -> str:
    """Return frames a second and what a frame takes, beside what neither can go below."""
    machine = result["machine"]
    rate = machine["1 thread"]["convolution_gflops"]
    heads = ["pictures", "faces", "frames a second", "codecs alone", "follow", "guide", "network",
             "at least", "check, paste", "codecs, rest", "in all"]  # fmt: skip
    rows = []
    for row in result["rows"]:
        spent = row["cpu_ms_a_frame"]
        shown = (
            spent["track"], spent["guide"], spent["denoise"], 1e3 * row["network_gflop"] / rate,
            spent["composite"], spent["decode"] + spent["encode"] + spent["other"],
            row["cpu_ms_in_all"],
        )  # fmt: skip
        width, height = row["size"]
        rows.append([
            f"{width}x{height}", str(row["faces"]), f"**{row['fps']:.1f}**",
            f"{row['fps_bare']:.0f}", *(f"{ms:.0f}" for ms in shown),
        ])  # fmt: skip
    told = (
        f"{machine['cores']} cores with {machine['instructions']}, {result['date']}; milliseconds"
        " of processor time a frame from `follow` on, `at least` is what the network's"
        f" arithmetic takes at the {rate:.0f} GFLOP/s at which one core convolves here."
        f" `{result['command']}` measures your machine."
    )
    return "\n".join([*table(heads, rows), told, ""])


if __name__ == "__main__":
    PAGE.write_text(benchmarks_page(), "utf-8")
    pages = ((EVALUATION_PAGE, evaluation_page), (CARD, card_page), (README, readme_page))
    for path, fresh in pages:
        path.write_text(fresh(path.read_text("utf-8")), "utf-8")
