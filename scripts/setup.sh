#!/bin/sh
# Makes or repairs .venv, installs exactly what requirements.lock names, then the project itself, editable.
# In: PYTHON (an interpreter) and TORCH (cpu or default), both optional. The Makefile writes the stamp after success.
set -eu
cd "$(dirname "$0")/.."
started=$(date +%s)
say() { printf 'setup: %s\n' "$*"; }

machine=$(uname -s)-$(uname -m)
case $machine in
    Linux-x86_64 | Linux-aarch64 | Darwin-arm64) ;;
    *) say "torch 2.3 or numba has no wheel for $machine; use Linux (WSL 2 on Windows) or an Apple-silicon Mac" >&2; exit 1 ;;
esac

installed_torch=$(cat .venv/.torch 2>/dev/null || echo default)
torch=${TORCH:-$installed_torch}
case $torch in
    cpu | default) ;;
    *) say "TORCH=$torch is neither cpu nor default" >&2; exit 1 ;;
esac

python=$(sh scripts/find_python.sh)

# .partial stands while .venv is incomplete: an interrupted installation leaves files that pip takes for whole.
base_of() { "$1" -c 'import sys; print(sys.base_prefix)' 2>/dev/null || echo none; }
if [ -e .venv/.partial ] || [ "$torch" != "$installed_torch" ] || [ "$(base_of .venv/bin/python)" != "$(base_of "$python")" ]; then
    say "making .venv with $python"
    rm -rf .venv
    mkdir .venv
fi
echo "$torch" >.venv/.torch
touch .venv/.partial
rm -f .venv/.stamp
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null

# uv is several times faster, but ignores pip's mirrors, proxies and certificates: used where present, never fetched.
install() {
    if uv --version >/dev/null 2>&1; then
        uv pip install --quiet --python .venv/bin/python "$@" && return
        say 'uv could not; trying pip'
    fi
    # Twice quiet: pip warns at length about configured locations that lack a package.
    .venv/bin/python -m pip --disable-pip-version-check -qq install "$@"
}

pins=requirements.lock
size='2.6 GB to download, 6 GB on disk'
cpu_builds=
if [ "$torch" = cpu ] && [ "$machine" = Linux-x86_64 ]; then  # elsewhere the locked torch has no CUDA anyway
    pins=.venv/requirements-cpu.lock
    size='0.6 GB to download, 2 GB on disk'
    # An entry is its first line and the indented hash lines below it.
    awk '/^[^ #]/ { drop = ($0 ~ /^(nvidia-|triton==|torch==|torchvision==)/) } !drop' requirements.lock >"$pins"
    cpu_builds=$(awk '/^(torch|torchvision)==/ { print $1 "+cpu" }' requirements.lock)
fi

say "installing $(grep -c '^[a-z].*==' "$pins") pinned packages (the first time: about $size; 2 to 6 minutes)"
install --no-deps --require-hashes -r "$pins"
if [ -n "$cpu_builds" ]; then
    # These two are pinned by version only: the lock's hashes are those of the CUDA builds, which live elsewhere.
    cpu_index=https://download.pytorch.org/whl/cpu
    # shellcheck disable=SC2086  # two words are meant
    install --no-deps --index-url "$cpu_index" $cpu_builds
fi
rm .venv/.partial

install --no-deps --no-build-isolation -e .
say "done in $(($(date +%s) - started)) s; make doctor shows what is installed"
