# shellcheck shell=bash disable=SC2154
# The Debian packages of the rig, installed when a program of theirs is missing and we are root.

declare -A package_of=(
  [dockerd]=docker.io
  [docker]=docker.io
  [iptables]=iptables
  [ip]=iproute2
  [busybox]=busybox-static
  [htpasswd]=apache2-utils
  [lighttpd]=lighttpd
  [git]=git
  [openssl]=openssl
  [curl]=curl
  [nft]=nftables
  [promtool]=prometheus
  [systemd-analyze]=systemd
  [faketime]=faketime
  [/usr/lib/lighttpd/mod_openssl.so]=lighttpd-mod-openssl
)

installed() {
  if [[ $1 == /* ]]; then [[ -e $1 ]]; else command -v "$1" >/dev/null; fi
}

install_missing_packages() {
  local program missing=() policy=/usr/sbin/policy-rc.d
  for program in "${!package_of[@]}"; do
    # What only the node needs is not installed for the others.
    if [[ $program == nft && ! ${wanted[node]:-} ]]; then continue; fi
    if ! installed "$program"; then missing+=("${package_of[$program]}"); fi
  done
  if ((${#missing[@]} == 0)) || ((EUID != 0)) || ! installed apt-get; then return; fi
  echo "installing ${missing[*]}"
  # Debian starts what it installs; the rig must not start an engine or a web server for the whole machine.
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  else
    policy=
  fi
  {
    apt-get update &&
      DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
  } >"$rig/packages.log" 2>&1 || echo "could not install all of them, see $rig/packages.log"
  rm -f "$policy"
}

# needs PROGRAM...: fails with the name of the first package that is not there.
needs() {
  local program
  for program in "$@"; do
    installed "$program" || fail "it needs the Debian package ${package_of[$program]}"
  done
}
