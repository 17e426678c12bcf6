#!/usr/bin/env bash
# Makes .venv with the given Python; Debian keeps the module for it in a package of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh

python=${1:-}
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "set-up: no Python found: expected 3.11 or newer, got ${python:-none}" >&2
  echo "hint: install Python 3.11 or say where it is: make PYTHON=/path/to/python3.11 $*" >&2
  exit 1
fi
[ -x .venv/bin/python ] && [ -d .venv/lib ] && .venv/bin/python -m pip --version >/dev/null 2>&1 && exit 0
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$python" -c 'import ensurepip' 2>/dev/null && ! apt_install "python$version-venv"; then
  echo "set-up: cannot make .venv: expected the module ensurepip, got none" >&2
  echo "hint: as root, apt-get install python$version-venv" >&2
  exit 1
fi
"$python" -m venv .venv
