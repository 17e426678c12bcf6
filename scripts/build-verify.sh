#!/usr/bin/env bash
# Build the wheel of the verify-only distribution into the folder given: scripts/build-verify.sh OUTPUT
set -euo pipefail
out=$(mkdir -p "${1:?usage: build-verify.sh OUTPUT}" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp packaging/verify/pyproject.toml "$work/"
cp -r archiver manifests storage "$work/"
"${PYTHON:-.venv/bin/python}" -m build --wheel --no-isolation --outdir "$out" "$work" >&2
