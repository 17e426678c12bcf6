#!/usr/bin/env bash
# The tools of others that tests compare with.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh
mkdir -p .make
packages=(tshark openssl openssh-client gnutls-bin curl poppler-utils pandoc xvfb xauth)

if ! apt_install "${packages[@]}"; then
  for tool in tshark openssl ssh-keygen gnutls-cli curl pdftotext pandoc xvfb-run; do
    command -v "$tool" >/dev/null || {
      echo "set-up: no $tool: the tests compare with it" >&2
      echo "hint: as root, apt-get install ${packages[*]}" >&2
      exit 1
    }
  done
fi

# A FAT disk to try stores on; where there is none, those tests are skipped and say so.
apt_install dosfstools fusefat || echo "set-up: no fusefat: stores are not tried on FAT" >&2
