#!/bin/sh
# Puts in place what the end-to-end tests and the image need, and says what and why. Installs only what is missing.
# Debian and its relatives are served with apt-get; elsewhere the missing commands are named.
set -eu

say() { printf '==> %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=""
reasons=""
# want PROBE PACKAGE REASON: notes PACKAGE unless PROBE (a command, or a file when it begins with a slash) is there.
want() {
  case $1 in
    /*) [ -e "$1" ] && return 0 ;;
    *) command -v "$1" >/dev/null 2>&1 && return 0 ;;
  esac
  missing="$missing $2"
  reasons="$reasons
    $2: $3"
}

PATH="$PATH:/usr/sbin:/sbin"
want cc gcc "the C parts of the TLS library and the allocator"
want musl-gcc musl-tools "the program is one static file, so that the image needs nothing else"
want dockerd docker.io "a real Docker Engine for the end-to-end tests"
want docker docker.io "the command that starts the tests' containers"
want docker-compose docker-compose "a real Compose project is brought up and down"
want /bin/busybox busybox-static "the servers in the tests' containers; no image registry is asked"
want pgrep procps "finds a running Docker Engine"
want ip iproute2 "a bridge for the engine that is killed and restarted"
want iptables iptables "the engine's networks"
want /etc/ssl/certs/ca-certificates.crt ca-certificates "the image carries the certificate authorities"
if [ "${1:-}" = long ]; then
  want qemu-aarch64-static qemu-user-static "the arm64 program is started once"
  want pip3 python3-pip "the cross compiler for arm64 comes as a Python package"
  want python3 python3-venv "the cross compiler for arm64 comes as a Python package"
fi

if [ -n "$missing" ]; then
  if ! command -v apt-get >/dev/null 2>&1; then
    printf 'These tests need the following, by their Debian names:%s\nInstall them and run again.\n' "$reasons" >&2
    exit 1
  fi
  say "installing Debian packages:$reasons"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  # shellcheck disable=SC2086  # a list of words
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

# Debian's dynamic busybox does not run in an empty image.
if ldd /bin/busybox >/dev/null 2>&1; then
  say "installing busybox-static: the servers in the tests' containers run in an otherwise empty image"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends busybox-static
fi

target="$(uname -m)-unknown-linux-musl"
if command -v rustup >/dev/null 2>&1; then
  toolchain_parts=$(rustup component list --installed)
  for part in clippy rustfmt; do
    case $toolchain_parts in
      *"$part"*) ;;
      *) say "adding $part to the Rust toolchain"; rustup component add "$part" ;;
    esac
  done
  if ! rustup target list --installed | grep -qx "$target"; then
    say "adding the Rust target $target: the program is one static file"
    rustup target add "$target"
  fi
fi

if ! docker version >/dev/null 2>&1; then
  say "no Docker Engine answers: starting one (log: /var/log/hearthgate-dockerd.log)"
  # An engine that was killed, or went down with the machine, leaves its process file behind; by now the number in it may
  # belong to any other program, and the engine would refuse to start for it.
  if [ -z "$(pgrep -x dockerd)" ]; then
    as_root rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
  fi
  as_root sh -c 'setsid nohup dockerd >/var/log/hearthgate-dockerd.log 2>&1 </dev/null &'
  tries=0
  until as_root docker version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 60 ]; then
      as_root tail -n 20 /var/log/hearthgate-dockerd.log >&2
      echo "the Docker Engine did not come up within a minute" >&2
      exit 1
    fi
    sleep 1
  done
  if ! docker version >/dev/null 2>&1; then
    echo "the Docker Engine runs, but this user may not use it: add the user to the group docker, or run as root" >&2
    exit 1
  fi
fi
