# shellcheck shell=bash disable=SC2154
# The test images trueup-test/busybox:1 and :2, made from Debian's static busybox. The same busybox gives the same image
# ids on every engine and at every `up`. Version 2 is version 1 and a layer with the file /version.

load_images() {
  local part=$1 images=$rig/$1/images
  if docker_at "$part" image inspect trueup-test/busybox:1 trueup-test/busybox:2 &>/dev/null; then return; fi
  needs busybox
  rm -rf "$images"
  make_images "$images"
  tar -C "$images" -c . | docker_at "$part" load >/dev/null
  rm -rf "$images"
}

# make_images FOLDER: in the layout that `docker load` reads.
make_images() {
  local out=$1
  mkdir -p "$out"
  make_busybox_root "$out/busybox"
  mkdir "$out/version"
  echo 2 >"$out/version/version"
  pack "$out/busybox"
  pack "$out/version"
  image_config "$out/busybox.tar" >"$out/1.json"
  image_config "$out/busybox.tar" "$out/version.tar" >"$out/2.json"
  cat >"$out/manifest.json" <<'JSON'
[{"Config": "1.json", "RepoTags": ["trueup-test/busybox:1"], "Layers": ["busybox.tar"]},
 {"Config": "2.json", "RepoTags": ["trueup-test/busybox:2"], "Layers": ["busybox.tar", "version.tar"]}]
JSON
}

make_busybox_root() {
  local root=$1 busybox applet
  busybox=$(type -P busybox)
  if ldd "$busybox" &>/dev/null; then fail "$busybox is not static: it needs the Debian package busybox-static"; fi
  mkdir -p "$root"/{bin,etc,proc,sys,dev,root}
  mkdir -m 1777 "$root/tmp"
  for applet in $("$busybox" --list); do ln -sf busybox "$root/bin/$applet"; done
  cp --remove-destination "$busybox" "$root/bin/busybox"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'root:x:0:' >"$root/etc/group"
}

pack() {
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar -C "$1" -cf "$1.tar" .
  rm -r "$1"
}

image_config() {
  local layers
  layers=$(sha256sum "$@" | awk '{ printf "%s\"sha256:%s\"", sep, $1; sep = ", " }')
  cat <<JSON
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "created": "1970-01-01T00:00:00Z",
 "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
 "rootfs": {"type": "layers", "diff_ids": [$layers]}}
JSON
}
