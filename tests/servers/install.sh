#!/usr/bin/env bash
# Installs the servers that the tests run against, with the system's package manager, where that is allowed.
set -euo pipefail
declare -A package=(
  [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients [redis-server]=redis-server [mariadbd]=mariadb-server [chromium]=chromium
)
PATH=$PATH:/usr/sbin:/usr/local/sbin
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
install="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "The tests need these, by whatever name your system gives them: ${missing[*]}" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else
  echo "The tests need servers that are not installed. Please run:" >&2
  echo "  sudo sh -c 'apt-get update && $install'" >&2
  exit 1
fi
echo "setup: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The packages start their servers as system services; the tests start their own, so that is switched off meanwhile.
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c "apt-get update -q && $install" >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "Installing failed; by hand: apt-get update && $install" >&2
  exit 1
fi
