#!/usr/bin/env bash
# Brings the files that archiver/assets/npm.lock names out of their npm packages, each package held to its digest.
# Without npm, and where it cannot be installed, captures work all the same; what is missing says so.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh
mkdir -p .make

complete() {
  local package file
  while read -r package _ _ _ file; do
    [ -s "archiver/assets/${package##*/}/$file" ] || return 1
  done < <(grep -v '^#' archiver/assets/npm.lock)
}

complete && exit 0
if ! command -v npm >/dev/null && ! apt_install npm; then
  echo "set-up: no npm: replay and site behaviours are left out; as root, apt-get install npm, then make assets"
  exit 0
fi

downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT
while read -r package version integrity source file; do
  name=${package#@}
  archive="$downloads/${name//\//-}-$version.tgz"
  if [ ! -e "$archive" ]; then
    npm pack --silent --pack-destination "$downloads" "$package@$version" >/dev/null
    got=$(.venv/bin/python -c 'import base64, hashlib, sys
print("sha512-" + base64.b64encode(hashlib.sha512(open(sys.argv[1], "rb").read()).digest()).decode())' "$archive")
    [ "$got" = "$integrity" ] || {
      echo "set-up: npm package $package $version: expected $integrity, got $got" >&2
      echo "hint: find out why the registry gives other bytes before you change archiver/assets/npm.lock" >&2
      exit 1
    }
  fi
  mkdir -p "archiver/assets/${package##*/}"
  tar -xzOf "$archive" "package/$source" >"archiver/assets/${package##*/}/$file"
done < <(grep -v '^#' archiver/assets/npm.lock)
