#!/usr/bin/env bash
# The image of the demo: seven real servers from Debian packages, so that no image registry is needed.
#
#   image.sh load         put the image into the engine of DOCKER_HOST, unless it is there already
#   image.sh name         print the image's name
#
# As root on Debian it is made with debootstrap and kept for the next engine, else by `docker build` on Debian's public
# image.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=trueup/demo:1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/trueup
label=dev.trueup.demo.inputs # on the image: what it was made of

# Everything that goes into the image decides whether the kept one can be used.
inputs=$(cd "$here" && cat image.sh packages setup.sh postgres-entrypoint Dockerfile | sha256sum | cut -c1-16)
archive=$cache/demo-image-$inputs.tar

can_debootstrap() {
  ((EUID == 0)) && grep -qx 'ID=debian' /etc/os-release && command -v debootstrap >/dev/null
}

packages() {
  grep -v '^#' "$here/packages"
}

# The address of Debian's packages that this machine uses, in either form of source list.
debian_uri() {
  local uri
  uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -Eo '^(URIs:|deb( \[[^]]*\])?) +https?://[^ ]+' | grep -Eo 'https?://[^ ]+/debian/?$' | head -n 1) || true
  echo "${uri:-http://deb.debian.org/debian}"
}

make_archive() {
  if [[ -s $archive ]]; then return; fi
  local root
  mkdir -p "$cache"
  root=$(mktemp -d "$cache/demo-image.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now, not of then
  trap "rm -rf '$root'" EXIT
  chmod 755 "$root" # it becomes the `/` of the image
  debootstrap --variant=minbase --include="$(packages | paste -sd,)" bookworm "$root" "$(debian_uri)"
  mkdir "$root/build"
  cp "$here"/{setup.sh,postgres-entrypoint} "$root/build/"
  chroot "$root" sh /build/setup.sh
  rm -rf "$root/build"
  tar -C "$root" --numeric-owner -cf "$archive.new" .
  rm -f "$cache"/demo-image-*.tar
  mv "$archive.new" "$archive"
}

is_loaded() {
  [[ $(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) == "$inputs" ]]
}

load() {
  if is_loaded; then return; fi
  if can_debootstrap; then
    make_archive
    docker import --change "LABEL $label=$inputs" --change 'ENV LANG=C.UTF-8' "$archive" "$image"
  else
    docker build --label "$label=$inputs" --tag "$image" "$here"
  fi
}

case ${1:-} in
  load) load ;;
  name) echo "$image" ;;
  *) echo "usage: image.sh load|name" >&2 && exit 64 ;;
esac
