#!/usr/bin/env sh
# On a machine with a GPU, from a bare checkout (nothing is installed): the tests that need a GPU and those of the
# kernels, compiled; the benchmark; the comparison. Less than 10 minutes in all, so each has its share: TEST_S and
# BENCH_S seconds give another. Records go to $OUT, or to benchmarks/results. A step that fails does not keep the next
# from running; it shows in the exit status.
set -u
cd "$(dirname "$0")/.." || exit 1
out=${OUT:-benchmarks/results}
mkdir -p "$out"
export PYTHONPATH=src
failed=0
timeout "${TEST_S:-200}" python3 -m pytest -q tests/test_gpu.py tests/test_kernels.py || failed=1
python3 benchmarks/gpu.py --budget-s "${BENCH_S:-300}" --out "$out/gpu.json" || failed=1
timeout 40 python3 -m sqrtm compare --cuda --repeats 20 --json "$out/gpu-float32.json" --plot "$out/gpu-float32.png" ||
    failed=1
exit $failed
