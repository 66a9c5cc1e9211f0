"""The table of figures and ratios, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import dulwich

from .bench import Bench
from .measure import Result, Target

__all__ = ["row_lines", "table", "write_json"]

_COLUMNS = ("ours", "dulwich", "git", "floor")
_HEADINGS = ("case", *_COLUMNS, "/dulwich", "/git", "/floor", "target", "met")


class _Row(NamedTuple):
    title: str
    figures: Mapping[str, float]
    target: Target | None
    is_memory: bool
    failures: Mapping[str, str]


def _rows(result: Result, bench: Bench) -> list[_Row]:
    case = result.case
    title = case.title.format(**asdict(bench.scale))
    rows = [_Row(title, result.seconds, case.target, False, result.failures)]
    if "ours" in result.peaks:
        rows.append(_Row(f"{title}: peak memory", result.peaks, case.memory_target, True, {}))
    return rows


def _seconds(value: float) -> str:
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def _bytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


def _ratio(figures: Mapping[str, float], peer: str) -> str:
    if "ours" not in figures or not figures.get(peer):
        return ""
    ratio = figures["ours"] / figures[peer]
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def _cells(row: _Row) -> list[str]:
    show = _bytes if row.is_memory else _seconds
    cells = [row.title]
    for name in _COLUMNS:
        if name in row.figures:
            cells.append(show(row.figures[name]))
        else:
            cells.append("failed" if name in row.failures else "")
    cells += [_ratio(row.figures, peer) for peer in _COLUMNS[1:]]
    met = row.target.is_met(row.figures) if row.target else None
    cells.append(row.target.text if row.target else "")
    cells.append({True: "yes", False: "NO", None: ""}[met])
    return cells


def row_lines(result: Result, bench: Bench) -> list[str]:
    """Tell one result as soon as it is there."""
    return [" | ".join(filter(None, _cells(row))) for row in _rows(result, bench)]


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
    rows = [_cells(row) for result in results for row in _rows(result, bench)]
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
        rows = _rows(result, bench)
        cases.append(
            {
                "name": result.case.name,
                "title": rows[0].title,
                "seconds": result.seconds,
                "peak_bytes": result.peaks,
                "target": result.case.target.text if result.case.target else None,
                "met": result.case.target.is_met(result.seconds) if result.case.target else None,
                "samples": {
                    name: [reading.seconds for reading in readings]
                    for name, readings in result.readings.items()
                },
                "failures": result.failures,
            }
        )
    document = {"machine": _machine(bench), "scale": asdict(bench.scale), "cases": cases}
    path.write_text(json.dumps(document, indent=1) + "\n")
