#!/usr/bin/env bash
# Builds the programs that Debian does not have (or has too old) from the Go module proxy.
#
#   build.sh FAMILY...      build what is not in the cache yet: docker, registry, compose, kubernetes,
#                           node
#   build.sh --bin FAMILY   only print the folder of the family's programs
#
# A family is a folder with its own go.mod. Its programs land in a cache outside of the checkout, under a key made
# from go.mod, go.sum and the recipe below, so a change of any of them builds anew and nothing else does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TRUEUP_RIG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trueup-rig}

# --- recipes: run in the family's folder, write programs to the folder $1 -------------------------------------------

recipe_docker() {
  local moby=github.com/moby/moby/v2 containerd=github.com/containerd/containerd/v2
  local version
  version=$(go list -m -f '{{.Version}}' "$moby")
  compile "$1" -tags 'netgo osusergo' -ldflags "-s -w -X $moby/dockerversion.Version=$version" \
    "$moby/cmd/dockerd" "$moby/cmd/docker-proxy"
  compile "$1" "$containerd/cmd/containerd" "$containerd/cmd/containerd-shim-runc-v2"
  needs_for_runc
  CGO_ENABLED=1 compile "$1" -tags seccomp github.com/opencontainers/runc
}

recipe_registry() {
  compile "$1" github.com/distribution/distribution/v3/cmd/registry
}

recipe_compose() {
  local compose=github.com/docker/compose/v5
  local version
  version=$(go list -m -f '{{.Version}}' "$compose")
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X $compose/internal.Version=$version" -o "$1/docker-compose" \
    "$compose/cmd"
}

recipe_kubernetes() {
  local kubernetes=k8s.io/kubernetes/cmd
  compile "$1" -ldflags "-s -w $(kubernetes_version)" \
    "$kubernetes/kube-apiserver" "$kubernetes/kube-controller-manager" "$kubernetes/kubectl"
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1/etcd" go.etcd.io/etcd/server/v3
}

# `ctr` is containerd's, and so of that version.
recipe_node() {
  local kubernetes=k8s.io/kubernetes/cmd plugins=github.com/containernetworking/plugins/plugins
  compile "$1" -ldflags "-s -w $(kubernetes_version)" \
    "$kubernetes/kubelet" "$kubernetes/kube-scheduler" "$kubernetes/kube-proxy"
  compile "$1" "$plugins/main/bridge" "$plugins/main/loopback" "$plugins/ipam/host-local" "$plugins/meta/portmap"
  (cd "$here/docker" && compile "$1" github.com/containerd/containerd/v2/cmd/ctr)
}

# Clients parse a server's version and refuse one that was not stamped.
kubernetes_version() {
  local version major minor package
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${version#v}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    echo "-X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
  done | tr '\n' ' '
}

# What a recipe calls besides `compile`, so that it is part of the key.
declare -A helpers_of=([kubernetes]=kubernetes_version [node]=kubernetes_version)

# --- how a recipe becomes a folder of the cache ---------------------------------------------------------------------

compile() {
  local out=$1
  shift
  CGO_ENABLED=${CGO_ENABLED:-0} go build -trimpath -ldflags '-s -w' -o "$out/" "$@"
}

needs_for_runc() {
  if pkg-config --exists libseccomp 2>/dev/null && command -v gcc >/dev/null; then return; fi
  [[ $EUID -eq 0 ]] || fail "runc needs gcc, pkg-config and libseccomp-dev, and only root can install them"
  DEBIAN_FRONTEND=noninteractive apt-get install -yq gcc libc6-dev pkg-config libseccomp-dev >&2
}

bin_of() {
  local family=$1 key
  [[ -f $here/$family/go.sum ]] || fail "there is no family '$family' to build"
  key=$({
    cat "$here/$family/go.mod" "$here/$family/go.sum"
    # shellcheck disable=SC2086 # one word or none
    declare -f "recipe_$family" compile ${helpers_of[$family]:-}
  } | sha256sum | cut -c1-16)
  echo "$cache/$family-$key/bin"
}

build() {
  local family=$1 bin began=$SECONDS unfinished
  bin=$(bin_of "$family")
  # Whoever else builds this family is waited for. (Go itself locks go.mod, so the lock is on the folder.)
  exec 8<"$here/$family"
  flock 8
  if [[ -d $bin ]]; then
    echo "$family: in the cache, $bin"
    return
  fi
  command -v go >/dev/null || fail "$family: Go is not installed, so it cannot be built"
  echo "$family: building into $bin"
  mkdir -p "$cache"
  unfinished=$(mktemp -d "$cache/.$family-XXXXXX")
  # shellcheck disable=SC2064 # the folder's name is known now
  trap "rm -rf '$unfinished'" EXIT
  mkdir "$unfinished/bin"
  (cd "$here/$family" && "recipe_$family" "$unfinished/bin")
  chmod 755 "$unfinished"
  mv -T "$unfinished" "${bin%/bin}"
  echo "$family: built in $((SECONDS - began)) s"
}

fail() {
  echo "$*" >&2
  exit 1
}

export GOTOOLCHAIN=${GOTOOLCHAIN:-local}
case ${1:-} in
  --bin) bin_of "${2:?--bin needs a family}" ;;
  '') fail "usage: build.sh [--bin] FAMILY..., where a family is docker, registry, compose, kubernetes or node" ;;
  *) for family in "$@"; do build "$family"; done ;;
esac
