"""The record of `gpu.py` for people: tables, what failed, and whether the targets are met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu_cases import BOTH, FORWARD, MODES
from gpu_contenders import ALONE, FIXED, LOEWNER, ORIGINAL, OURS
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

KINDS = ("kernel", "wall")


def micro(seconds: float | None) -> str:
    """Microseconds, to three figures if they are few; milliseconds if they are many."""
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 0.1 else f"{seconds * 1e6:.{0 if seconds >= 1e-4 else 1}f}"


def quotient(x: float | None, y: float | None) -> float | None:
    """x/y, if both are known."""
    return x / y if x and y else None


def figure(x: float | None) -> str:
    """To two figures or the units."""
    return "–" if x is None else f"{x:.0f}" if x >= 9.95 else f"{x:.2g}"


def taken(case: dict[str, Any], name: str, mode: str, kind: str = "kernel") -> float | None:
    """Seconds of a contender in a case, None if they were not measured."""
    row = case["contenders"].get(name, {})
    return row.get(mode, {}).get(kind) if row.get("status") == "ok" else None


def floor_over(case: dict[str, Any], name: str, mode: str) -> float | None:
    """What part of the kernel time of a contender the floor is."""
    return quotient(case["floor"].get(mode), taken(case, name, mode))


def new_table(*headings: str) -> Table:
    """A narrow one; columns of text are on the left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("case", "who", "") else "right", no_wrap=True)
    return table


def in_detail(cases: list[dict[str, Any]], best: int = 3) -> Table:
    """Every contender, but of the variants what is done now and the fastest."""
    table = new_table("case", "who", "error", "grad.", "f", "wall", "f+b", "wall", "floor÷", "× ours")
    for case in cases:
        title = f"{case['section']} {case['batch']}×{case['n']}² κ {case['condition']:g}"
        names, now = list(case["contenders"]), case.get("present")
        if now:
            fast = sorted((name for name in names if taken(case, name, BOTH)), key=lambda x: taken(case, x, BOTH))
            names = [x for x in dict.fromkeys([OURS, now, FIXED, *fast]) if x in names][: 3 + best]
        for name in names:
            row = case["contenders"][name]
            who = name + f" ({row['by']})" * bool(row["by"]) + " (now)" * (name == now)
            errors = ["nan" if e is None else f"{e:.0e}" for e in row.get("errors", [])]
            times = [micro(taken(case, name, mode, kind)) for mode in MODES for kind in KINDS]
            floor = "/".join(figure(floor_over(case, name, mode)) for mode in MODES)
            over_ours = figure(quotient(taken(case, name, BOTH), taken(case, OURS, BOTH)))
            table.add_row(title, who, *[*errors, "", ""][:2], *times, floor, over_ours)
            title, graph = "", [taken(case, name, mode, "graph") for mode in MODES]
            if any(graph):
                table.add_row("", f"{name}, in a graph", "", "", micro(graph[0]), "", micro(graph[1]))
    return table


def of_grid(cases: list[dict[str, Any]], over: str) -> Table:
    """By n, times as fast as another, kernel/wall, or else kernel time and what part of it the floor is."""
    found = {(case["condition"], case["batch"], case["n"]): case for case in cases}
    sizes = sorted({n for *_, n in found})
    table = new_table("κ", "B", "", *map(str, sizes))
    for condition, batch in sorted({key[:2] for key in found}):
        for mode in MODES:
            cells = []
            for case in (found.get((condition, batch, n)) for n in sizes):
                if case is None:
                    cells.append("")
                elif over:
                    pairs = ((taken(case, over, mode, kind), taken(case, OURS, mode, kind)) for kind in KINDS)
                    cells.append("/".join(figure(quotient(*pair)) for pair in pairs))
                else:
                    cells.append(f"{micro(taken(case, OURS, mode))}/{figure(floor_over(case, OURS, mode))}")
            if not set(cells) <= {"", "–/–"}:
                table.add_row(f"{condition:g}", str(batch), "f" if mode == FORWARD else "f+b", *cells)
    return table


def verdict(target: str, found: str, values: list[float | None], least: float) -> str:
    """A target, what was found, and whether all values reach the least that is wanted."""
    missed = any(x is not None and x < least for x in values)
    return f"{target}: {found}; {'NOT MET' if missed else 'not measured' if None in values else 'met'}"


def summary(record: dict[str, Any]) -> Iterator[str]:
    """The four targets."""
    headline = {(c["batch"], c["n"]): c for c in record["cases"] if c["section"] == "headline"}
    nothing: dict[str, Any] = {"contenders": {}, "floor": {}}
    case = headline.get((128, 64), nothing)
    ours, graph = taken(case, OURS, BOTH), taken(case, ALONE, BOTH, "graph")
    target = "(1) kernel time of B = 128, n = 64, forward + backward ≤ 60 µs"
    yield verdict(target, f"{micro(ours)}, kernels alone in a graph {micro(graph)}", [quotient(60e-6, ours)], 1)
    pairs = {
        "original, kernel": quotient(taken(case, ORIGINAL, BOTH), ours),
        "original, graph": quotient(taken(case, ORIGINAL, BOTH, "graph"), graph),
        "eigh, kernel": quotient(taken(case, LOEWNER, BOTH), ours),
        "eigh, its kernel time over our graph, for it cannot be captured": quotient(taken(case, LOEWNER, BOTH), graph),
    }
    found = ", ".join(f"{name} {figure(x)}×" for name, x in pairs.items())
    yield verdict("(2) ≥ 10× both rivals there", found, [*pairs.values()], 10)
    parts = {m: [floor_over(headline.get(k, nothing), OURS, m) for k in ((65536, 32), (10000, 64))] for m in MODES}
    found = ", ".join(f"{mode} {' and '.join(map(figure, values))}" for mode, values in parts.items())
    yield verdict("(3) floor ÷ kernel ≥ 0.4 at 65536×32² and 10000×64², forward + backward", found, parts[BOTH], 0.4)
    grid = [case for case in record["cases"] if case["section"] == "grid"]
    failed = sum(case["contenders"].get(OURS, {}).get("status") in ("inaccurate", "failed") for case in grid)
    speeds = [
        (x, f"{kind} {case['batch']}×{case['n']}² κ {case['condition']:g} {mode}")
        for case in grid for mode in MODES for kind in KINDS
        if (x := quotient(taken(case, LOEWNER, mode, kind), taken(case, OURS, mode, kind)))
    ]  # fmt: skip
    found = f"ours failed in {failed} of {len(grid)} cases; of {4 * len(grid)} times (b) has {len(speeds)} to compare,"
    found += f" ours is slower in {sum(x < 1 for x, _ in speeds)}; least "
    found += ", ".join(f"{x:.2g} ({where})" for x, where in sorted(speeds)[:3])
    complete = speeds and len(record["cases"]) == record["planned"]
    values = [x for x, _ in speeds] + [0.0] * failed + [None] * (not complete)
    yield verdict("(4) never slower than (b), kernel and wall", found, values, 1)


def show(record: dict[str, Any]) -> None:
    """Print a record, the most important last."""
    console = Console(width=120, highlight=False, markup=False, emoji=False)
    grid = [case for case in record["cases"] if case["section"] == "grid"]
    for over in (ORIGINAL, "", LOEWNER):
        console.print(f"Times as fast as {over}, kernel/wall" if over else "Kernel time of ours, µs/floor ÷ it")
        console.print(of_grid(grid, over))
    console.print("µs, f forward, f+b forward + backward; errors of root and gradient, the worst of a sample")
    console.print(in_detail([case for case in record["cases"] if case["section"] != "grid"]))
    reasons: dict[str, list[str]] = {}
    for what, why in record["failed"].items():
        reasons.setdefault(why, []).append(what)
    for why, where in reasons.items():
        console.print(f"{why}: {'; '.join(where[:3])}" + f"; and {len(where) - 3} more" * (len(where) > 3))
    for told in (record.get("environment", {}), record["eigensolvers"], record["ceilings"]):
        console.print("; ".join(f"{key} {x:.3g}" if isinstance(x, float) else f"{key} {x}" for key, x in told.items()))
    by = "the profiler" if record.get("by profiler") else "the clock, gaps included"
    console.print(f"kernel time by {by}; kernels compiled {record['kernels compiled']}")
    console.print(f"{len(record['cases'])} of {record['planned']} cases measured")
    for line in summary(record):
        console.print(line)
