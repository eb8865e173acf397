#!/usr/bin/env bash
# Checks the workspace on a machine with a CUDA device, and writes a table to $OUT/gpu.txt:
# every test with the marker gpu, hosts on cuda:0 against hosts on the CPU, and a short default run.
#
#   tests/gpu/run.sh            on a machine with a network: installs from the lock with uv
#   tests/gpu/run.sh pack       here, for a machine without: fills .gpu-wheels/
#   tests/gpu/run.sh            there, with .gpu-wheels/ beside it, and a python3 that has torch and
#                               pytest
#
# PYTHON names another interpreter, which is used as it is. Exit code 3: there is no CUDA device.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT="${OUT:-$PWD/gpu-results}"
WHEELS=.gpu-wheels
# What a machine with torch, numpy, rich and pytest still lacks.
CARRIED="annotated-types attrs cyclopts docstring-parser docutils hypothesis mnist1d pydantic pydantic-core
rich rich-rst sortedcontainers typing-extensions typing-inspection"

pack() {
  uv build --quiet --all-packages --wheel --out-dir "$WHEELS"
  uv export --quiet --locked --no-hashes --no-emit-workspace >"$WHEELS/lock.txt"
  # A package that the lock does not have is not needed.
  for name in $CARRIED; do grep -E "^$name==" "$WHEELS/lock.txt" || true; done |
    cut -d' ' -f1 >"$WHEELS/requirements.txt"
  uv run --no-project --with pip python -m pip download --quiet --no-deps \
    --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --dest "$WHEELS" --requirement "$WHEELS/requirements.txt"
  du -sh "$WHEELS"
}

install() {
  if [[ -n "${PYTHON:-}" ]]; then
    return
  elif compgen -G "$WHEELS/*.whl" >/dev/null; then
    PYTHON=python3
    site="$(mktemp -d)"
    trap 'rm -rf "$site"' EXIT
    python3 -m pip install --quiet --no-index --no-deps --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site"
  elif command -v uv >/dev/null; then
    uv sync --quiet --locked
    PYTHON=.venv/bin/python
  else
    echo "error: there is neither uv nor $WHEELS/; run 'tests/gpu/run.sh pack' and bring it" >&2
    exit 1
  fi
}

if [[ "${1:-}" == pack ]]; then
  mkdir -p "$WHEELS"
  pack
  exit
fi
install
if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  "$PYTHON" -c 'import torch; print(f"error: torch {torch.__version__} finds no CUDA device here")' >&2
  exit 3
fi
mkdir -p "$OUT"
status=0
# Only the files that have such tests: others import packages that may not be there.
mapfile -t files < <(grep -rl "pytest.mark.gpu" --include='test_*.py' packages apps tests)
"$PYTHON" -m pytest -q -m gpu "${files[@]}" 2>&1 | tee "$OUT/tests.txt" || status=1
"$PYTHON" tests/gpu/compare.py cpu cuda:0 2>&1 | tee "$OUT/gpu.txt" || status=1
exit $status
