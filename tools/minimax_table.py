"""Write src/sqrtm/_minimax_table.py and the same for MATLAB: the polynomials of the minimax iteration.

    python tools/minimax_table.py            # write them
    python tools/minimax_table.py --check    # exit with 1 unless the files are, byte for byte, what this writes

For an interval [a, b] with 0 < a < b and a degree k, h is the polynomial that minimises
max |1 − √t·h(t)|, so that t·h(t)² is as close to 1 as a polynomial of its form can be; by the exchange
algorithm of Remez in 40 digits. x·h(x²) is then the best odd polynomial for the sign function, of degree
2k + 1 (Nakatsukasa & Freund, *Computing fundamental matrix decompositions accurately via the matrix sign
function in two iterations*, SIAM Review 58 (2016), for the rational case; Amsel, Persson, Musco & Gower,
*The Polar Express*, arXiv 2505.16932, for polynomials, and that composing them greedily is optimal).

A degree-8 h is written so that it takes three matrix products and few sums of matrices, after Sastre, *Efficient
evaluation of matrix polynomials*, Linear Algebra Appl. 539 (2018), 229–250, and one of degree 4 so that it takes two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mpmath as mp

ROOT = Path(__file__).parents[1]
RADII = ("0.3", "0.42", "0.6", "0.8", "0.9")
"""Spectra of A/mean within 1 ± radius: one step of degree 17."""
GENERAL = {"float32": ("1e4", 3), "float64": ("1e6", 4)}
"""Condition number that steps of degree 9 are made for, and how many."""

mp.mp.dps = 40


def minimax(a: mp.mpf, b: mp.mpf, k: int, nodes: list[mp.mpf] | None = None) -> tuple[list[mp.mpf], mp.mpf, list]:
    """Coefficients of h in powers of t − (a + b)/2, the largest error, and where it is attained."""
    centre, half = (a + b) / 2, (b - a) / 2
    m = k + 2
    x, y = mp.sqrt(a), mp.sqrt(b)
    nodes = nodes or [((x + y) / 2 - (y - x) / 2 * mp.cos(mp.pi * i / (m - 1))) ** 2 for i in range(m)]
    grid = {x * (y / x) ** (mp.mpf(i) / 800) for i in range(1, 800)}
    grid |= {x + (y - x) * mp.mpf(i) / 400 for i in range(1, 400)}
    grid = [a, *(t * t for t in sorted(grid)), b]
    for _ in range(100):
        system, right = mp.matrix(m, m), mp.matrix(m, 1)
        for i, t in enumerate(nodes):
            for j in range(k + 1):
                system[i, j] = mp.sqrt(t) * ((t - centre) / half) ** j
            system[i, k + 1] = (-1) ** i
            right[i] = 1
        *h, _ = mp.lu_solve(system, right)

        def error(t: mp.mpf, h: list = h) -> mp.mpf:
            return 1 - mp.sqrt(t) * mp.polyval(h[::-1], (t - centre) / half)

        nodes = _extrema(error, grid, m)
        sizes = [abs(error(t)) for t in nodes]
        if max(sizes) < min(sizes) * (1 + mp.mpf(10) ** -12):
            return [c / half**j for j, c in enumerate(h)], max(sizes), nodes
    raise RuntimeError(f"no convergence on [{a}, {b}]")


def _extrema(error, grid: list[mp.mpf], m: int) -> list[mp.mpf]:
    """The m alternating extrema of ``error``: the largest of each run of one sign, refined by golden section."""
    values = [error(t) for t in grid]
    best: list[int] = []
    for i, value in enumerate(values):
        if best and (values[best[-1]] > 0) == (value > 0):
            if abs(value) > abs(values[best[-1]]):
                best[-1] = i
        else:
            best.append(i)
    while len(best) > m:
        best.pop(0 if abs(values[best[0]]) < abs(values[best[-1]]) else -1)
    found = []
    golden = (mp.sqrt(5) - 1) / 2
    for i in best:
        if i in (0, len(grid) - 1):
            found.append(grid[i])
            continue
        low, high = grid[i - 1], grid[i + 1]
        for _ in range(60):
            left, right = high - golden * (high - low), low + golden * (high - low)
            if abs(error(left)) > abs(error(right)):
                high = right
            else:
                low = left
        found.append((low + high) / 2)
    return found


def wide(ratio: mp.mpf, k: int) -> tuple[list[mp.mpf], mp.mpf]:
    """`minimax` on [1/ratio, 1], from an easy interval by widening it step by step."""
    low = max(1 / ratio, mp.mpf(1) / 4)
    h, error, nodes = minimax(low, mp.mpf(1), k)
    while low > 1 / ratio:
        low = max(low / 2, 1 / ratio)
        h, error, nodes = minimax(low, mp.mpf(1), k, [low, *nodes[1:]])
    return h, error


def three_products(p: list[mp.mpf]) -> list[mp.mpf]:
    """Rewrite p(E) = p₀ + … + p₈E⁸ as sLR + ηE + kI, R = (E² + bE + xI)(E² + yI) + βI, L = R + δ(E² + yI) + αI.

    With R = E⁴ + bE³ + uE² + dE + r and L the same but for v in place of u and l in place of r, comparing coefficients
    from E⁸ down gives s, b, u + v, d and l + r, those of E⁴ and E² a quadratic equation for u and v and r, and the
    last two η and k. The result is [s, b, x, y, β, δ, α, η, k].
    """
    s = p[8]
    q = [c / s for c in p]
    b = q[7] / 2
    both = q[6] - b * b  # u + v
    d = (q[5] - b * both) / 2
    rest = (q[3] - d * both) / b  # l + r
    delta = -mp.sqrt(both * both - 4 * (q[4] - 2 * b * d - rest))  # v − u; from uv by the coefficient of E⁴
    u = (both - delta) / 2
    r = (q[2] - d * d - u * rest) / delta
    y = d / b
    x = u - y
    return [s, b, x, y, r - x * y, delta, rest - 2 * r - delta * y, p[1] - s * d * rest, p[0] - s * r * (rest - r)]


def one_product(h: list[mp.mpf]) -> list[mp.mpf]:
    """Rewrite h₀ + … + h₄F⁴ as s(F² + aF + bI)(F² + cI) + kI; the result is [s, a, b, c, k]."""
    s, c = h[4], h[1] / h[3]
    b = h[2] / s - c
    return [s, h[3] / s, b, c, h[0] - s * b * c]


Step = tuple[mp.mpf, mp.mpf, list[mp.mpf]]
"""The largest error afterwards, the centre of the powers, and the coefficients."""


def first_steps() -> dict[str, Step]:
    """By radius, the only step for a spectrum in 1 ± radius."""
    found = {}
    for radius in RADII:
        p, error, _ = minimax(1 - mp.mpf(radius), 1 + mp.mpf(radius), 8)
        found[radius] = error, mp.mpf(1), three_products(p)
    return found


def general_steps(condition: str, steps: int) -> list[Step]:
    """So many steps for a spectrum in [1/condition, 1]."""
    found = []
    low, high = 1 / mp.mpf(condition), mp.mpf(1)
    for _ in range(steps):
        h, error = wide(high / low, 4)
        root = mp.sqrt(high)  # h on [low/high, 1] becomes h(t/high)/√high on [low, high]
        h = [c / (root * high**j) for j, c in enumerate(h)]
        found.append((error, (low + high) / 2, one_product(h)))
        low, high = (1 - error) ** 2, (1 + error) ** 2
    return found


def python(first: dict[str, Step], general: dict[str, list[Step]]) -> str:
    """The text of the module."""
    lines = [
        '"""Coefficients of the minimax iteration. Written by tools/minimax_table.py: do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "FIRST: dict[float, tuple[float, tuple[float, ...]]] = {",
    ]
    for radius, (error, _, h) in first.items():
        lines += [f"    {radius}: ({_number(error)}, (", *(f"        {_number(c)}," for c in h), "    )),"]
    lines += [
        "}",
        '"""Radius r: the largest |1 − √t·h(t)| on 1 ± r, and (s, b, x, y, β, δ, α, η, k) with',
        'h(I + E) = sLR + ηE + kI, R = (E² + bE + xI)(E² + yI) + βI and L = R + δ(E² + yI) + αI."""',
        "",
        "GENERAL: dict[str, tuple[tuple[float, float, tuple[float, ...]], ...]] = {",
    ]
    for dtype, steps in general.items():
        lines.append(f'    "{dtype}": (')
        for error, centre, h in steps:
            lines += [f"        ({_number(error)}, {_number(centre)}, ("]
            lines += [f"            {_number(c)}," for c in h]
            lines += ["        )),"]
        lines.append("    ),")
    lines += [
        "}",
        f'"""Steps for spectra in [1/κ, 1], κ = {GENERAL["float32"][0]} (float32) and {GENERAL["float64"][0]} '
        "(float64): the largest",
        'error afterwards, the centre m, and (s, a, b, c, k) with h(t) = s(F² + aF + b)(F² + c) + k, F = t − m."""',
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def matlab(first: dict[str, Step], general: dict[str, list[Step]]) -> str:
    """The text of the function."""

    def row(name: str, error: mp.mpf, h: list[mp.mpf]) -> list[str]:
        numbers = [_number(c) for c in h]
        return [
            f"    {name}, {_number(error)}, [ ...",
            *(f"        {c}, ..." for c in numbers[:-1]),
            f"        {numbers[-1]}]",
        ]

    lines = [
        "function table = minimax_table()",
        "%MINIMAX_TABLE  Coefficients of the minimax iteration. Written by tools/minimax_table.py: do not edit.",
        "%   table.first: a row for each radius r, r, the largest abs(1 - sqrt(t)*h(t)) on 1 - r ... 1 + r, and",
        "%   [s, b, x, y, beta, delta, alpha, eta, k] of MINIMAX.",
        "%   table.single and table.double: a row for each step, made for condition numbers up to "
        + " and ".join(condition for condition, _ in GENERAL.values())
        + ", with",
        "%   the centre m, the largest error afterwards, and [s, a, b, c, k]:",
        "%   h(t) = s*(F^2 + a*F + b)*(F^2 + c) + k with F = t - m.",
        "",
        "table.first = {",
    ]
    for radius, (error, _, h) in first.items():
        lines += row(radius, error, h)
    for dtype, steps in general.items():
        lines[-1] += "};"
        lines.append(f"table.{ {'float32': 'single', 'float64': 'double'}[dtype] } = {{")
        for error, centre, h in steps:
            lines += row(_number(centre), error, h)
    lines[-1] += "};"
    return "\n".join([*lines, "end"]) + "\n"


def _number(x: mp.mpf) -> str:
    return repr(float(x))


TARGETS = {
    ROOT / "src/sqrtm/_minimax_table.py": python,
    ROOT / "matlab/private/minimax_table.m": matlab,
}

if __name__ == "__main__":
    first = first_steps()
    general = {dtype: general_steps(*made_for) for dtype, made_for in GENERAL.items()}
    texts = {path: write(first, general) for path, write in TARGETS.items()}
    if "--check" in sys.argv[1:]:
        sys.exit(any(path.read_text(encoding="utf-8") != text for path, text in texts.items()))
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
