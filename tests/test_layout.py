"""Imports go one way, and `import sqrtm` needs torch alone."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import sqrtm

PACKAGE = Path(sqrtm.__file__).parent
LAYERS = [
    {"_autocast", "_minimax_table", "_place", "_real", "_scratch", "_transforms"},
    {"_chunks", "_eigh", "_schedule", "_spectrum"},
    {"_checks"},
    {"kernels"},
    {"methods"},
    {"gradients"},
    {"_auto"},
    {"_certificate"},
    {"_info"},
    {"_roots"},
    {"_lyapunov"},
    {"_api"},
    {"distances", "nn"},
    {""},  # the package itself: sqrtm/__init__.py
    {"commands"},
    {"files"},
    {"compare", "solve"},
    {"cli"},
    {"__main__"},
]


def layer_of(part: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def imported_parts(path: Path):
    """The first-level parts of the package that a file imports."""
    package = ["sqrtm", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = [part for part in base if part]
            names = [base[1]] if len(base) > 1 else [alias.name for alias in node.names]
            yield from (
                name if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists() else "" for name in names
            )
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not any(module.split(".")[0] == "sqrtm" for module in modules), f"{path}: import relatively"


def test_imports_go_one_way():
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        own = "" if part == "__init__" else part
        for other in imported_parts(path):
            seen += 1
            assert other == own or layer_of(other) < layer_of(own), f"{path} imports {other or 'sqrtm'}"
    assert seen > 50


def test_import_needs_torch_only():
    code = """
import sys
sys.modules.update(dict.fromkeys(["rich", "matplotlib", "sklearn", "PIL", "scipy", "triton"]))
import torch, sqrtm
print(sqrtm.sqrtm(torch.eye(2) * 4)[0, 0].item())
from sqrtm.cli import main
sys.exit(main(["compare"]))
"""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.strip() == "2.0", done.stderr
    assert done.returncode == 2
    assert done.stderr.strip() == "sqrtm compare: needs rich: pip install 'sqrtm[compare]'"
