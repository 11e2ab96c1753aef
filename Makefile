# Everything runs in .venv, made from constraints.txt the first time it is needed.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint kernels bench overhead uses readme examples gpu-bench clean

demo: .venv/installed  ## the comparison on the CPU: synthetic covariances, then photographs
	$(BIN)/sqrtm compare
	$(BIN)/sqrtm compare --data photos --batch-size 32 --dtype float64 --num-iters 20

test: .venv/installed  ## one thread for each of as many processes as there are cores: threads would wait for each other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 -W error -W 'ignore:`torch.jit.script` is deprecated:DeprecationWarning'

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mh_style --matlab 2020b matlab

kernels: .venv/installed  ## compile the GPU kernels for Hopper and hold them to the limits of docs/gpu.md; needs no GPU
	$(BIN)/python tools/kernel_resources.py --check

bench: .venv/installed  ## `auto` against what else there is on the CPU, 20 minutes; a quiet machine, please
	$(BIN)/python benchmarks/cpu.py --out benchmarks/results/cpu.json --plot docs/cpu.png

overhead: .venv/installed  ## what a call costs on one small matrix
	@$(BIN)/python benchmarks/overhead.py

uses: .venv/installed  ## pooling and the Fréchet distance beside what one would write without the library
	@$(BIN)/python benchmarks/uses.py

readme: .venv/installed  ## run the README's commands again and put their output in place of the old
	$(BIN)/python docs/renew.py

examples: .venv/installed  ## the four examples, a few minutes; their figures go to docs/
	$(BIN)/python examples/train_bilinear.py --out docs/train_bilinear.json --plot docs/train_bilinear.png
	$(BIN)/python examples/whitening.py --plot docs/whitening.png
	$(BIN)/python examples/frechet.py --plot docs/frechet.png
	$(BIN)/python examples/shampoo_step.py --plot docs/shampoo.png

gpu-bench:  ## on a machine with a GPU, from a bare checkout: the gpu tests, the benchmark, the comparison
	sh benchmarks/gpu.sh

.venv/installed: constraints.txt pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
