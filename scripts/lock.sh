#!/usr/bin/env bash
# Writes the locks from pyproject.toml and the .in files: exact versions with the hashes of their files.
set -euo pipefail
cd "$(dirname "$0")/.."

# Only the main index decides: a machine's extra indexes may hold files that nobody else can get.
export PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='' PIP_EXTRA_INDEX_URL='' PIP_CONSTRAINT=''
compile() {
  .venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@"
}
compile --output-file requirements-build.txt requirements-build.in
compile --constraint requirements-build.txt --output-file requirements.txt pyproject.toml
compile --output-file requirements-demo.txt requirements-demo.in
compile --output-file requirements-dev.txt requirements-dev.in
