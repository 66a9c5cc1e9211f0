"""The table of figures and ratios, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import dulwich

from .bench import Bench
from .measure import Result

__all__ = ["row", "table", "write_json"]

_COLUMNS = ("ours", "dulwich", "git", "floor")
_HEADINGS = ("case", *_COLUMNS, "/dulwich", "/git", "/floor", "peak memory", "to reach", "met")


def _seconds(value: float) -> str:
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def _peaks(figures: Mapping[str, float]) -> str:
    """Tell the peaks of memory, of each contender that told its own."""
    told = [f"{name} {figures[name] / 1e6:.0f}" for name in _COLUMNS if name in figures]
    return f"{', '.join(told)} MB" if told else ""


def _ratio(figures: Mapping[str, float], peer: str) -> str:
    if "ours" not in figures or not figures.get(peer):
        return ""
    ratio = figures["ours"] / figures[peer]
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def _targets(result: Result) -> tuple[str, bool | None]:
    """Give the targets of a case, and whether all that can be told of are met."""
    case = result.case
    texts = []
    met = []
    for target, figures, what in (
        (case.target, result.seconds, ""),
        (case.memory_target, result.peaks, "memory "),
    ):
        if target is not None:
            texts.append(what + target.text)
            met.append(target.is_met(figures))
    known = [each for each in met if each is not None]
    return ", ".join(texts), all(known) if known else None


def _cells(result: Result, bench: Bench) -> list[str]:
    figures = result.seconds
    cells = [result.case.title.format(**asdict(bench.scale))]
    for name in _COLUMNS:
        if name in figures:
            cells.append(_seconds(figures[name]))
        else:
            cells.append("failed" if name in result.failures else "")
    cells += [_ratio(figures, peer) for peer in _COLUMNS[1:]]
    target, met = _targets(result)
    return [*cells, _peaks(result.peaks), target, {True: "yes", False: "NO", None: ""}[met]]


def row(result: Result, bench: Bench) -> str:
    """Tell one result as soon as it is there."""
    return " | ".join(filter(None, _cells(result, bench)))


def _machine(bench: Bench) -> dict[str, str]:
    git = "none" if bench.git is None else ".".join(map(str, bench.git))
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "dulwich": ".".join(map(str, dulwich.__version__)),
        "git": git,
    }


def table(results: Sequence[Result], bench: Bench) -> str:
    """Give the whole table, in Markdown."""
    rows = [_cells(result, bench) for result in results]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    lines = [
        f"{bench.scale.refs:,} refs; medians of interleaved repetitions; "
        + ", ".join(f"{key} {value}" for key, value in _machine(bench).items()),
        "",
    ]
    aligned = ["-" * width for width in widths]
    for cells in (list(_HEADINGS), aligned, *rows):
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append(f"| {' | '.join(padded)} |")
    if bench.scale.name != "full":
        lines += ["", "Targets are for the full sets; here they only hint."]
    return "\n".join(lines)


def write_json(path: Path, results: Sequence[Result], bench: Bench) -> None:
    """Write everything that was found."""
    cases = []
    for result in results:
        target, met = _targets(result)
        cases.append(
            {
                "name": result.case.name,
                "title": result.case.title.format(**asdict(bench.scale)),
                "seconds": result.seconds,
                "peak_bytes": result.peaks,
                "target": target,
                "met": met,
                "samples": {
                    name: [reading.seconds for reading in readings]
                    for name, readings in result.readings.items()
                },
                "failures": result.failures,
            }
        )
    document = {"machine": _machine(bench), "scale": asdict(bench.scale), "cases": cases}
    path.write_text(json.dumps(document, indent=1) + "\n")
