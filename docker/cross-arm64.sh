#!/bin/sh
# Builds the program for linux/arm64 on another machine, and starts it once under emulation: it must say its version and
# answer `/ping`. The cross compiler (zig, by cargo-zigbuild) comes from the Python package index.
set -eu
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-musl
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hearthgate
tools=$cache/zigbuild

if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
  echo '==> installing cargo-zigbuild and zig, once: the cross compiler for arm64'
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet cargo-zigbuild==0.20.1 ziglang==0.14.1
fi
if ! rustup target list --installed | grep -qx "$target"; then
  echo "==> adding the Rust target $target"
  rustup target add "$target"
fi

echo '==> program for arm64'
PATH="$tools/bin:$PATH" cargo zigbuild --locked --bin hearthgate --target "$target"

program=${CARGO_TARGET_DIR:-target}/$target/debug/hearthgate
emulator=qemu-aarch64-static
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo '==> started once under qemu-user'
"$emulator" "$program" version
"$emulator" "$program" --entryPoints.web.address=127.0.0.1:0 --admin.address="unix:$folder/admin.sock" \
  --stateDir="$folder" >"$folder/log" 2>&1 &
started=$!
tries=0
until "$emulator" "$program" healthcheck --admin.address="unix:$folder/admin.sock" >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 60 ] || ! kill -0 "$started" 2>/dev/null; then
    cat "$folder/log" >&2
    echo 'the arm64 program did not answer' >&2
    kill "$started" 2>/dev/null || true
    exit 1
  fi
  sleep 1
done
kill -TERM "$started"
wait "$started"
echo 'the arm64 program answers, and ends with 0 on SIGTERM'
