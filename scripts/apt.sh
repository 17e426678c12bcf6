# shellcheck shell=bash
# Sourced by the set-up scripts: installs Debian packages where that is allowed.

export DEBIAN_FRONTEND=noninteractive

# Prints the words to put before apt-get; fails where we may not install.
apt_as() {
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" = 0 ]; then return 0; fi
  command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
  echo "sudo -n --preserve-env=DEBIAN_FRONTEND"
}

# apt_install PACKAGE...: installs what is missing; fails where it cannot.
apt_install() {
  local as missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  as=$(apt_as) || return 1
  if [ ! -e .make/apt-updated ]; then
    $as apt-get -q -q update || return 1
    mkdir -p .make && touch .make/apt-updated
  fi
  echo "set-up: installing ${missing[*]}"
  # dpkg is quiet about nothing, so its words are kept for when it fails.
  $as apt-get -q -q -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" >.make/apt.log 2>&1 || {
    tail -n 20 .make/apt.log
    return 1
  }
}
