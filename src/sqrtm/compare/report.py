"""The comparison as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .measure import Row

STYLES = {"ok": "green", "not-converged": "yellow", "error": "red"}
LEGEND = (
    "Times: median ± interquartile range. Errors: relative, of the worst matrix, against a more precise",
    "reference; ok means both at most 1e-4 (float32) or 1e-9 (float64). Memory: peak of live tensor bytes",
    "above the start. Speedup: of forward + backward over svd × lyapunov-eigh, for rows that are ok.",
)


def print_table(rows: list[Row], console: Console) -> None:
    """Print one line a row under a line for its method, and what the columns mean."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("method\n  gradient")
    for heading in (
        "forward\nms", "backward\nms", "forward\nerror", "backward\nerror", "residual",
        "forward\nMiB", "total\nMiB", "speedup\nover svd",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    table.add_column("status")
    for method, group in groupby(rows, key=lambda row: row.method):
        table.add_row(f"[bold]{method}[/]")
        for row in group:
            table.add_row(
                ("≈ " if row.approximate else "  ") + row.gradient,
                _milliseconds(row.forward_ms, row.forward_iqr_ms),
                _milliseconds(row.backward_ms, row.backward_iqr_ms),
                _figure(row.forward_error, ".1e"),
                _figure(row.backward_error, ".1e"),
                _figure(row.residual, ".1e"),
                _figure(row.forward_peak_bytes, ".1f", 2**20),
                _figure(row.total_peak_bytes, ".1f", 2**20),
                _figure(row.speedup_over_svd, ".2f"),
                f"[{STYLES[row.status]}]{row.status}[/]",
            )
    console.print(table)
    for row in rows:
        if row.status == "error":
            console.print(f"{row.method} × {row.gradient}: {row.message}", markup=False, highlight=False)
    for line in LEGEND:
        console.print(line, markup=False, highlight=False)
    if any(row.approximate for row in rows):
        console.print(
            "≈ the implicit gradient of a root that is itself an approximation.", markup=False, highlight=False
        )


def write_json(path: Path, config: dict[str, Any], machine: dict[str, Any], rows: list[Row]) -> None:
    """Write everything the table shows and what it depends on; what is not a finite number becomes null."""
    content = _finite({"config": config, "environment": machine, "rows": [asdict(row) for row in rows]})
    path.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _finite(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _finite(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_finite(value) for value in x]
    return None if isinstance(x, float) and not isfinite(x) else x


def _milliseconds(median: float | None, spread: float | None) -> str:
    return "–" if median is None else f"{median:.3g} ±{spread:<4.2g}"


def _figure(x: float | None, style: str, unit: float = 1) -> str:
    return "–" if x is None else format(x / unit, style)
