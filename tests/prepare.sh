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
want /usr/bin/pebble pebble "an ACME server as it was before renewal information and profiles"
want named bind9 "a real DNS server: DNS-01 with dynamic updates, DNS over a UDP router"
want dig bind9-dnsutils "asks that DNS server, and changes its zones"
want openssl openssl "a TLS client and server that is not ours"
want curl curl "a client that is not ours, over HTTP/1.1 and HTTP/2"
want testssl testssl.sh "looks for weaknesses of a TLS entry point"
want /usr/lib/postgresql postgresql "a server that answers SSLRequest first, behind a TCP router"
want redis-server redis-server "a server behind a TCP router"
want redis-cli redis-tools "its client, with TLS"
pebble_version=2.10.1
cache="${XDG_CACHE_HOME:-$HOME/.cache}/hearthgate"
pebble_bin="$cache/pebble-$pebble_version/bin"
if [ ! -x "$pebble_bin/pebble" ] || [ ! -x "$pebble_bin/pebble-challtestsrv" ]; then
  want go golang-go "builds pebble $pebble_version, an ACME server with renewal information, profiles and Retry-After"
fi
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
  # The tests start servers of their own. Debian's packages would start theirs too, now and with the machine, and take
  # the ports of those who work here.
  services=""
  for package in $missing; do
    case $package in
      bind9) services="$services named" ;;
      postgresql | redis-server) services="$services $package" ;;
    esac
  done
  policy=/usr/sbin/policy-rc.d
  refused=""
  if [ -n "$services" ] && [ ! -e "$policy" ]; then
    refused=yes
    trap 'as_root rm -f "$policy"' EXIT
    # docker.io may start: the tests use the machine's engine.
    printf '#!/bin/sh\ncase $1 in\n  named | bind9 | postgresql* | redis*) exit 101 ;;\nesac\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  # shellcheck disable=SC2086  # a list of words
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
  if [ -n "$refused" ]; then
    as_root rm -f "$policy"
    trap - EXIT
  fi
  if [ -n "$services" ] && command -v systemctl >/dev/null 2>&1; then
    # shellcheck disable=SC2086  # a list of words
    as_root systemctl disable --quiet $services 2>/dev/null || true
  fi
fi

# Debian's dynamic busybox does not run in an empty image.
if ldd /bin/busybox >/dev/null 2>&1; then
  say "installing busybox-static: the servers in the tests' containers run in an otherwise empty image"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends busybox-static
fi

# Built once in a folder of its own, like every tool that no package brings.
if [ ! -x "$pebble_bin/pebble" ] || [ ! -x "$pebble_bin/pebble-challtestsrv" ]; then
  say "building pebble $pebble_version, once: an ACME server with renewal information, profiles and Retry-After"
  go=go
  case $(go env GOVERSION) in
    go1.?|go1.?.*|go1.1[0-9]*|go1.20*)
      # Go fetches the version that a module asks for since 1.21. An older one, as in Debian 12, can still download that
      # version: it is a module like any other, but for the bits that let its programs run.
      toolchain="golang.org/toolchain@v0.0.1-go1.24.2.linux-$(go env GOARCH)"
      go mod download "$toolchain"
      toolchain="$(go env GOMODCACHE)/$toolchain"
      chmod -R u+w "$toolchain"
      find "$toolchain/bin" "$toolchain/pkg/tool" -type f -exec chmod +x {} +
      go="$toolchain/bin/go"
      ;;
  esac
  GOBIN="$pebble_bin" GOTOOLCHAIN=auto GOFLAGS= GOROOT="" "$go" install \
    "github.com/letsencrypt/pebble/v2/cmd/pebble@v$pebble_version" \
    "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v$pebble_version"
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
