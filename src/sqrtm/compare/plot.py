"""The comparison as a picture: accuracy against time, one marker a pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .measure import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^v<>PX*hp"
"""One shape a method."""
LABELS = ((0, 7, "center"), (0, -14, "center"), (8, -3, "left"), (-8, -3, "right"))
"""Where a marker's number stands: neighbours are often close, so in turn above, below, right and left."""


def write_plot(path: Path, rows: list[Row], title: str) -> None:
    """Draw the rows to a .png or .svg file."""
    draw(rows, title).savefig(path, dpi=150)


def draw(rows: list[Row], title: str) -> Figure:
    """Draw backward error against forward + backward time, on logarithmic axes.

    Shapes tell methods, the number beside a marker tells the pair (listed at the right), and a
    hollow marker is a row that is not ok, so that the picture reads the same in greyscale.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="forward + backward time (ms)", title=title)
    axes.set_ylabel("error of the gradient (relative, worst matrix)")
    axes.xaxis.set_major_formatter("{x:g}")
    times = [time for row in rows if (time := row.total_ms())]
    if times and max(times) < 10 * min(times):  # a decade has room for labels at 2, 3, …
        axes.xaxis.set_minor_formatter("{x:g}")
    axes.grid(True, which="major", color="0.85")
    methods = list(dict.fromkeys(row.method for row in rows))
    for number, row in enumerate(rows, start=1):
        time = row.total_ms()
        label = f"{number}  {row.method} × {row.gradient}"
        shape = MARKERS[methods.index(row.method) % len(MARKERS)]
        if time is None or not row.backward_error:
            axes.plot([], [], linestyle="none", label=f"{label} ({row.status}, not drawn)")
            continue
        colour = f"C{methods.index(row.method)}"
        axes.plot(
            time, row.backward_error, shape, color=colour, markersize=8, label=label,
            markerfacecolor=colour if row.status == "ok" else "none",
        )  # fmt: skip
        x, y, side = LABELS[number % len(LABELS)]
        axes.annotate(
            str(number), (time, row.backward_error), xytext=(x, y), textcoords="offset points", fontsize=8,
            horizontalalignment=side,
        )  # fmt: skip
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, title="filled: ok    hollow: not ok")
    return figure
