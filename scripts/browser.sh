#!/usr/bin/env bash
# Finds a browser or brings one: an installed Chromium or Chrome, else Playwright's own, else Debian's package.
# Fonts and certutil come along where packages can be installed; without them captures work, and look poorer.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh
mkdir -p .make

# Playwright's own node is linked against a library that a small Debian does not have.
drives() { .venv/bin/playwright --version >/dev/null 2>&1; }
if ! drives && ! { apt_install libatomic1 && drives; }; then
  echo "set-up: Playwright does not start: $(.venv/bin/playwright --version 2>&1 | tail -n 1)" >&2
  echo "hint: as root, apt-get install libatomic1, then run make again" >&2
  exit 1
fi

installed() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" && return 0
  done
  return 1
}

playwrights() {
  local path
  path=$(.venv/bin/python -c 'from playwright.sync_api import sync_playwright as start
with start() as playwright: print(playwright.chromium.executable_path)')
  "$path" --version 2>/dev/null
}

# Only the libraries need root; Playwright asks apt for them itself.
fetch_playwrights() {
  local with=()
  if apt_as >/dev/null; then with=(--with-deps); fi
  timeout 900 .venv/bin/playwright install "${with[@]}" chromium >.make/playwright.log 2>&1 && playwrights
}

if ! found=$(installed) && ! found=$(playwrights) && ! found=$(fetch_playwrights); then
  apt_install chromium chromium-sandbox || true # the next line tells whether it worked
  found=$(installed) || {
    echo "set-up: no browser: expected Chromium or Chrome, got none" >&2
    echo "hint: as root, apt-get install chromium chromium-sandbox, then run make again" >&2
    exit 1
  }
fi
echo "set-up: browser: $found"

apt_install libnss3-tools fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji fonts-liberation ||
  echo "set-up: fonts-noto-core, fonts-noto-cjk, fonts-noto-color-emoji and libnss3-tools (certutil) are not installed here;" \
    "\`.venv/bin/archiver doctor\` tells what that changes"
if [ "$(command -v chromium || true)" = /usr/bin/chromium ]; then
  apt_install chromium-sandbox || echo "set-up: chromium-sandbox is not installed here"
fi
