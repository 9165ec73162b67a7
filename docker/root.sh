#!/bin/sh
# Lays out the image's root below a folder: root.sh PROGRAM FOLDER
#   FOLDER/root    owned by root: the program under both its names, users, certificate authorities
#   FOLDER/owned   owned by the gateway's user: where it keeps state and makes sockets
set -eu

program=$1
folder=$2

rm -rf "$folder"
mkdir -p "$folder/root/usr/local/bin" "$folder/root/etc/ssl/certs" "$folder/root/etc/hearthgate"
mkdir -p "$folder/owned/var/lib/hearthgate" "$folder/owned/var/log/hearthgate" "$folder/owned/run/hearthgate"

install -m 0755 "$program" "$folder/root/usr/local/bin/hearthgate"
# Existing Compose files call the program by this name: `traefik healthcheck --ping`.
ln -s hearthgate "$folder/root/usr/local/bin/traefik"
cp -L /etc/ssl/certs/ca-certificates.crt "$folder/root/etc/ssl/certs/ca-certificates.crt"
chmod 0644 "$folder/root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nhearthgate:x:65532:65532:Hearthgate:/var/lib/hearthgate:/sbin/nologin\n' \
  >"$folder/root/etc/passwd"
printf 'root:x:0:\nhearthgate:x:65532:\n' >"$folder/root/etc/group"
