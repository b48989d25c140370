# shellcheck shell=bash disable=SC2154
# In which network namespace a part lives: the file $rig/PART/netns holds its name, and is empty for the host's.

# live_in PART NAME: NAME is made when it does not exist.
live_in() {
  local part=$1 name=$2
  echo "$name" >"$rig/$part/netns"
  if [[ ! $name ]]; then return; fi
  # A name may be left of a namespace that is gone; registries and engines ask for the same one at the same time.
  flock "$here/lib/namespaces.sh" bash -euc '
    if ip -n "$1" link set lo up 2>/dev/null; then exit; fi
    ip netns delete "$1" 2>/dev/null || true
    ip netns add "$1"
    ip -n "$1" link set lo up' - "$name"
}

netns_of() {
  cat "$rig/$1/netns"
}

# within PART COMMAND...: as seen from the part's network namespace.
within() {
  local netns
  netns=$(netns_of "$1")
  shift
  if [[ $netns ]]; then nsenter "--net=/run/netns/$netns" "$@"; else "$@"; fi
}

remove_namespaces() {
  local name
  for name in $(cat "$rig"/*/netns 2>/dev/null | sort -u); do
    if [[ -e /run/netns/$name ]]; then ip netns delete "$name"; fi
  done
  # `ip netns` leaves its folder as a mount.
  if rmdir_is_possible /run/netns; then umount /run/netns 2>/dev/null && rmdir /run/netns; fi
}

rmdir_is_possible() {
  [[ -d $1 && ! $(ls -A "$1") ]]
}
