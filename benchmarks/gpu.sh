#!/usr/bin/env sh
# On a machine with a GPU, from a bare checkout (nothing is installed): the tests that need a GPU, then
# the comparison on it. Records go to $OUT, or to benchmarks/results.
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-benchmarks/results}
mkdir -p "$out"
export PYTHONPATH=src
python3 -m pytest -m gpu tests/test_gpu.py
python3 -m sqrtm compare --cuda --repeats 20 --json "$out/gpu-float32.json" --plot "$out/gpu-float32.png"
python3 -m sqrtm compare --cuda --repeats 20 --dtype float64 --num-iters 20 --json "$out/gpu-float64.json"
