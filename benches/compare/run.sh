#!/bin/sh
# Runs the side-by-side comparison with the release build: run.sh COMPARE_SCRIPT [its options]
# The script measures the gateway, the other proxies found on this machine, and a bare Pingora proxy, in turn.
set -eu
cd "$(dirname "$0")/../.."

if [ $# -eq 0 ]; then
  echo 'side-by-side comparison: not run. Name its script: make bench COMPARE=path/to/compare.py'
  exit 0
fi
script=$1
shift
if [ $# -eq 0 ]; then
  set -- --rounds 5
fi

cargo build --locked --release --bin hearthgate
program=$PWD/${CARGO_TARGET_DIR:-target}/release/hearthgate
start="$program --configFile={config} --providers.file.filename={config}"
exec python3 "$script" "$@" \
  --gateway-cmd "hearthgate=$start" --gateway-config "hearthgate=benches/compare/gateway.yml.tmpl" \
  --gateway-cmd "logged=$start" --gateway-config "logged=benches/compare/logged.yml.tmpl"
