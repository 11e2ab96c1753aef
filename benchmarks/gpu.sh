#!/usr/bin/env sh
# On a machine with a GPU, from a bare checkout (nothing is installed): the tests that need a GPU, then
# the comparison on it. Records go to $OUT, or to benchmarks/results. A step that fails does not keep the
# next from running; it shows in the exit status.
set -u
cd "$(dirname "$0")/.." || exit 1
out=${OUT:-benchmarks/results}
mkdir -p "$out"
export PYTHONPATH=src
failed=0
python3 -m pytest -m gpu tests/test_gpu.py || failed=1
python3 -m sqrtm compare --cuda --repeats 20 --json "$out/gpu-float32.json" --plot "$out/gpu-float32.png" || failed=1
python3 -m sqrtm compare --cuda --repeats 20 --dtype float64 --num-iters 20 --json "$out/gpu-float64.json" || failed=1
exit $failed
