#!/usr/bin/env bash
# The tools of others that tests compare with.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh
mkdir -p .make

if ! apt_install tshark openssl openssh-client curl poppler-utils; then
  for tool in tshark openssl ssh-keygen curl pdftotext; do
    command -v "$tool" >/dev/null || {
      echo "set-up: no $tool: the tests compare with it" >&2
      echo "hint: as root, apt-get install tshark openssl openssh-client curl poppler-utils" >&2
      exit 1
    }
  done
fi
