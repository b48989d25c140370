# shellcheck shell=bash disable=SC2034,SC2154
# What the demo needs of the machine: checked, and installed where we are root on a Debian-like system.

# The Debian package that has a program.
declare -A package_of=(
  [git]=git
  [cc]=gcc
  [docker]=docker.io
  [jq]=jq
  [ip]=iproute2
)

check_machine() {
  local problems=()
  ((EUID == 0)) || problems+=("be root: servers get secret files that belong to their own user ids")
  [[ $DOCKER_HOST == unix://* ]] || problems+=("DOCKER_HOST must be a Unix socket: servers are probed from here")
  as_caller cargo --version >/dev/null 2>&1 || problems+=("install Rust: https://rustup.rs")
  if ((EUID == 0)) && command -v apt-get >/dev/null; then
    install_packages
  fi
  local program
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || problems+=("install $program (Debian package ${package_of[$program]})")
  done
  if ((${#problems[@]} > 0)); then
    printf 'the demo cannot start:\n' >&2
    printf '  - %s\n' "${problems[@]}" >&2
    exit 1
  fi
}

install_packages() {
  local program missing=()
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
  done
  # Only Debian makes a Debian system from its own packages; elsewhere Docker builds on Debian's public image.
  if grep -qx ID=debian /etc/os-release && ! command -v debootstrap >/dev/null; then missing+=(debootstrap); fi
  if ((${#missing[@]} == 0)); then return; fi
  say "installing ${missing[*]}"
  mkdir -p "$demo/logs"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$demo/logs/packages" 2>&1 || fail "could not install them, see $demo/logs/packages"
}

# Secret files must not reach a disk. /run is in memory on almost every machine; elsewhere the demo mounts a piece that is.
prepare_runtime() {
  mkdir -p "$runtime"
  if [[ $(stat --file-system --format %T "$runtime") != tmpfs ]]; then
    mount -t tmpfs -o size=64m,mode=0755 tmpfs "$runtime"
  fi
}

# The daemon is scraped from inside of a zone, where 127.0.0.1 is another one: it gets an address of its own on this
# machine, which containers reach by their gateway. Of other machines only those that send packets for it here do.
metrics_address=10.89.0.1

add_metrics_address() {
  ip address replace "$metrics_address/32" dev lo
}

remove_metrics_address() {
  ip address delete "$metrics_address/32" dev lo 2>/dev/null || true # when `up` did not come so far
}

remove_runtime() {
  if mountpoint --quiet "$runtime"; then umount --recursive "$runtime"; fi
  rm -rf "$runtime"
}
