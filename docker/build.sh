#!/bin/sh
# Makes the image from a static program that is already built, without an image registry: build.sh PROGRAM IMAGE
set -eu

program=$(realpath "$1")
image=$2
cd "$(dirname "$0")/.."

if ldd "$program" 2>/dev/null | grep -q '=>'; then
  echo "$1 is not static: the image has no libraries" >&2
  exit 1
fi
sh docker/root.sh "$program" target/image
# The classic builder is enough, and is there everywhere; it says on standard error that it will be removed one day.
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --quiet --target prebuilt -f docker/Dockerfile -t "$image" . 2>target/image/log || {
  cat target/image/log >&2
  exit 1
}
echo "image $image"
