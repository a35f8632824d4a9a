#!/usr/bin/env bash
# ./run_local.sh [OPTION ...]     sets up on the first call, then runs the main job: on a small corpus
#                                 made on the spot, or on yours with --input=GLOB --output=DIR and any
#                                 other option of pipeline.run
# ./run_local.sh test [OPTION ...]  sets up what tests need, then runs them; options go to pytest
#
# PYTHON names the interpreter to use (3.10 to 3.13), VENV the virtual environment (.venv). Where uv is at hand,
# it installs instead of pip, and brings a Python if the machine has none.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="${VENV:-$here/.venv}"

# Prints the Python to make the virtual environment with: PYTHON, or else the newest that the machine has.
find_python() {
  for python in ${PYTHON:-python3.13 python3.12 python3.11 python3.10 python3 python}; do
    if "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  if [ -z "${PYTHON:-}" ] && command -v uv > /dev/null; then
    echo 3.13 # uv downloads it
    return
  fi
  cat >&2 << END
run_local.sh: error: ${PYTHON:-the Python of this machine} is missing or is not Python 3.10 to 3.13; set PYTHON=/path/to/python3.13, or install one:
uv (https://docs.astral.sh/uv), which then downloads it; 'apt install python3-venv' (Debian 12, 13; Ubuntu 22.04, 24.04); 'dnf install python3.13' (Fedora)
END
  exit 2
}

# Installs a lock file and the project, once for each state of them.
install() {
  local lock="$here/$1" stamp="$venv/.installed-$1"
  local state
  state="$(cat "$lock" "$here/requirements-build.lock" "$here/pyproject.toml" "$here/setup.py" | cksum) $here"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ]; then
    return
  fi
  if [ ! -x "$venv/bin/python" ]; then
    local python
    python="$(find_python)"
    if command -v uv > /dev/null; then
      uv venv --quiet --seed --python "$python" "$venv"
    elif ! "$python" -m venv "$venv"; then
      rm -rf "$venv"
      echo "run_local.sh: error: $python cannot make a virtual environment; install its venv module (Debian: apt install python3-venv)" >&2
      exit 2
    fi
    echo "Made $venv with $("$venv/bin/python" --version)"
  fi
  echo "Installing $1 (first time only: some minutes and 3 to 4 GB of disk)"
  local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
  if command -v uv > /dev/null; then
    pip=(uv pip install --quiet --python "$venv/bin/python")
  fi
  # First what builds the few packages that have no wheel: with build isolation pip would fetch it without a hash.
  "${pip[@]}" --require-hashes --requirement "$here/requirements-build.lock"
  "${pip[@]}" --require-hashes --no-build-isolation --requirement "$lock"
  "${pip[@]}" --no-build-isolation --no-deps --editable "$here"
  echo "$state" > "$stamp"
}

if [ "${1:-}" = test ]; then
  shift
  install requirements-dev.lock
  cd "$here"
  exec "$venv/bin/python" -m pytest "$@"
fi
install requirements.lock
export PYTHONUTF8=1 # names of files are UTF-8 in every locale
exec "$venv/bin/python" "$here/examples/demo.py" "$@"
