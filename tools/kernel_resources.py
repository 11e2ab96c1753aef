"""Compile every kernel for Hopper, which needs no GPU, and keep in docs/gpu.md what each takes of a multiprocessor.

    python tools/kernel_resources.py            # write the table
    python tools/kernel_resources.py --check    # exit with 1 if a limit is passed by what `kernels.supported` lets run

A kernel is compiled for n a multiple of 16 and contiguous matrices, and for any n, strides and offsets, in 64 bits: of
the ways in which Triton specialises it the one with the least and the one with the most to do. Registers and stack are
what ``cuobjdump``, which comes with Triton, reads from the binary; a stack is where registers that do not fit are
spilled.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sqrtm import kernels
from sqrtm.kernels import _block, jacobi, lyapunov, minimax, newton_schulz

PAGE = Path(__file__).parents[1] / "docs/gpu.md"
TABLE = re.compile(r"(?<=<!-- tools/kernel_resources.py -->\n).*?(?=<!-- end -->)", re.DOTALL)
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
SHARED_LIMIT = 227 * 1024
SPILL_LIMIT = 64
"""Bytes that are let pass, in what is not `MATTER` and for any n: they hold addresses."""
MATTER = ("roots", "Lyapunov")
SELDOM = ("eigenvalues",)
"""What runs for few matrices, in no hurry."""
KERNELS = {
    "roots": (minimax.roots_kernel, {}),
    "Lyapunov": (lyapunov.solve_kernel, {"SYMMETRIC": True}),
    "Lyapunov, any G": (lyapunov.solve_kernel, {"SYMMETRIC": False}),
    "eigenvalues": (jacobi.rescue_kernel, {"INVERSE": True}),
    "Newton–Schulz": (newton_schulz.roots_kernel, {}),
    "… its gradient": (newton_schulz.vjp_kernel, {"INVERSE": False}),
    "… of the inverse": (newton_schulz.vjp_kernel, {"INVERSE": True}),
}
POINTERS = {"codes_pointer": "*i64", "steps_pointer": "*i64", "memory_pointer": "*fp64"}
NUMBERS = {"batch": "i32", "n": "i32", "steps": "i32", "tolerance": "fp32", "indefinite": "fp32"}


def resources(name: str, size: int, aligned: bool) -> tuple[int, int, int]:
    """Bytes of shared memory, registers a thread and bytes of stack a thread."""
    kernel, settings = KERNELS[name]
    _, shape = _block.blocks(1, size)
    options = {key: shape.pop(key) for key in ("num_warps", "num_stages")}
    constants = {
        key: value for key, value in {**settings, **shape, "PRECISION": "ieee"}.items() if key in kernel.arg_names
    }
    signature, divisible = {}, []
    for i, argument in enumerate(kernel.arg_names):
        if argument in constants or (aligned and argument.endswith("column")):
            signature[argument] = "constexpr"
            constants.setdefault(argument, 1)
        elif argument.endswith("pointer"):
            signature[argument] = POINTERS.get(argument, "*fp32")
            if aligned or argument.startswith(("left", "right", "memory")):
                divisible.append(i)
        else:
            signature[argument] = NUMBERS.get(argument, "i32" if aligned else "i64")
            if aligned and size >= 16 and argument.endswith(("n", "stride", "row")):
                divisible.append(i)
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(kernel.arg_names.index(key),): value for key, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in divisible},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [CUOBJDUMP, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{key}:(\d+)", usage)[1]) for key in ("REG", "STACK"))
    return compiled.metadata.shared, registers, stack


def table(sizes: list[int]) -> tuple[str, list[str]]:
    """The table, and what is wrong in it."""
    sizes = sorted(sizes, reverse=True)  # the longest first
    cases = [(name, size, aligned) for size in sizes for name in KERNELS for aligned in (True, False)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = dict(zip(cases, pool.map(resources, *zip(*cases, strict=True)), strict=True))
    lines = [
        f"By Triton {triton.__version__}:",
        "",
        "| N | kernel | matrices, warps | shared, KB | registers | stack, B |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    wrong = []
    for size in reversed(sizes):
        for name in KERNELS:
            aligned, other = found[name, size, True], found[name, size, False]
            columns = [
                ", ".join(dict.fromkeys((f"{x / unit:g}", f"{y / unit:g}")))
                for x, y, unit in zip(aligned, other, (1024, 1, 1), strict=True)
            ]
            together, warps = _block.PACKING[size]
            lines.append(f"| {size} | {name} | {together}, {warps} | {' | '.join(columns)} |")
            if max(aligned[0], other[0]) > SHARED_LIMIT:
                wrong.append(f"{name}, N = {size}: too much shared memory")
            limits = (0 if name in MATTER else SPILL_LIMIT, SPILL_LIMIT)
            spills = aligned[2] > limits[0] or other[2] > limits[1]
            if spills and size <= kernels.LARGEST and name not in SELDOM:
                wrong.append(f"{name}, N = {size}: registers are spilled")
    return "\n".join(lines) + "\n", wrong


if __name__ == "__main__":
    check = "--check" in sys.argv[1:]
    text, wrong = table([size for size in _block.PACKING if size <= kernels.LARGEST or not check])
    print(text, *wrong, sep="\n")
    if not check:
        PAGE.write_text(TABLE.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(bool(wrong))
