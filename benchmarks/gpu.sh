#!/usr/bin/env sh
# On a machine with a GPU, from a bare checkout (nothing is installed): the tests marked gpu, then the
# comparison on the GPU. Records go to $OUT, or to benchmarks/results.
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-benchmarks/results}
mkdir -p "$out"
export PYTHONPATH=src
python3 -m pytest -m gpu
python3 -m sqrtm compare --cuda --repeats 20 --json "$out/gpu-float32.json" --plot "$out/gpu-float32.png"
python3 -m sqrtm compare --cuda --repeats 20 --dtype float64 --num-iters 20 --json "$out/gpu-float64.json"
