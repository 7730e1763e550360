#!/bin/sh
# Prints the path of a CPython 3.10 that runs and can make virtual environments; exits 1 with advice if there is none.
# Being called python3.10 proves nothing: an inactive pyenv shim has that name and fails. So each candidate is run.
set -eu
cd "$(dirname "$0")/.."
home=${HOME:-/nonexistent}

# The interpreter below a virtual environment is printed, not the environment's own: nested ones break.
probe='
import ensurepip, os, sys, venv
if sys.version_info[:2] != (3, 10) or sys.implementation.name != "cpython":
    sys.exit(1)
base = os.path.join(sys.base_prefix, "bin", "python3.10")
print(base if os.access(base, os.X_OK) else sys.executable)
'

usable() { "$1" -c "$probe" 2>/dev/null; }

take() {  # ends the search if the candidate is usable
    if found=$(usable "$1"); then
        printf '%s\n' "$found"
        exit 0
    fi
}

take_managed() {  # lets the given uv download a build of its own
    "$1" venv --quiet --managed-python --python 3.10 "$scratch/managed" >&2 || return 0
    take "$scratch/managed/bin/python"
}

# A named interpreter is used or refused, never silently replaced.
if [ -n "${PYTHON:-}" ]; then
    take "$PYTHON"
    version=$("$PYTHON" --version 2>&1) || version='it does not run'
    echo "PYTHON=$PYTHON is not a CPython 3.10 with the venv and ensurepip modules ($version)." >&2
    echo 'Remedy: name another one, or leave PYTHON= out to have one searched for.' >&2
    exit 1
fi

take .venv/bin/python

# Every match on PATH, not the first only: a broken shim may stand before a good interpreter.
set -f
IFS=:
for name in python3.10 python3 python; do
    for folder in $PATH; do
        take "$folder/$name"
    done
done
unset IFS
set +f

for candidate in \
    "${PYENV_ROOT:-$home/.pyenv}"/versions/3.10*/bin/python3.10 \
    "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$home/.local/share}/uv/python}"/cpython-3.10*/bin/python3.10 \
    /opt/homebrew/opt/python@3.10/bin/python3.10 \
    /usr/local/opt/python@3.10/bin/python3.10 \
    /home/linuxbrew/.linuxbrew/opt/python@3.10/bin/python3.10 \
    /Library/Frameworks/Python.framework/Versions/3.10/bin/python3.10 \
    /usr/local/bin/python3.10 \
    /usr/bin/python3.10 \
    "${CONDA_PREFIX:-/nonexistent}/bin/python"
do
    take "$candidate"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

if uv --version >/dev/null 2>&1; then
    echo 'No Python 3.10 found; uv is asked to download one.' >&2
    take_managed uv
else
    for any_python in python3 /usr/bin/python3 python; do
        "$any_python" -m venv "$scratch/uv" >/dev/null 2>&1 || continue
        echo "No Python 3.10 found; $any_python installs uv into a scratch folder, and uv is asked to download one." >&2
        if "$scratch/uv/bin/python" -m pip --disable-pip-version-check -qq install uv >&2; then
            take_managed "$scratch/uv/bin/uv"
        fi
        break
    done
fi

cat >&2 <<'EOF'

There is no Python 3.10 here, and lava-nc and lava-dl run on no other. Any one of these remedies will do:

  uv      curl -LsSf https://astral.sh/uv/install.sh | sh && . "$HOME/.local/bin/env" && make setup
  pyenv   pyenv install 3.10 && make setup
  system  macOS:         brew install python@3.10 && make setup
          Ubuntu 22.04:  sudo apt-get install python3.10-venv && make setup
          later Ubuntu:  sudo add-apt-repository ppa:deadsnakes/ppa && sudo apt-get install python3.10-venv && make setup

An interpreter in an unusual place is named with: make setup PYTHON=/path/to/python3.10
EOF
exit 1
