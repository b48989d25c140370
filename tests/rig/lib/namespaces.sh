# shellcheck shell=bash disable=SC2154
# In which network namespace a part lives: the file $rig/PART/netns holds its name. Without it, or when it is empty, it
# is the host's.

choose_namespaces() {
  local name20=''
  if [[ -e $rig/engine20/netns ]]; then
    name20=$(cat "$rig/engine20/netns")
  elif other_engine_runs; then
    # An engine at its start throws away the packet filter rules of another one in the same namespace.
    name20=trg20
  fi
  live_in "$name20" engine20 registry20
  live_in trg29 engine29 registry29
}

live_in() {
  local name=$1 part
  shift
  # The first is the one that the others stand on.
  if [[ ! ${wanted[$1]:-} ]]; then return; fi
  for part in "$@"; do
    if [[ ${wanted[$part]:-} ]]; then echo "$name" >"$rig/$part/netns"; fi
  done
  if [[ ! $name || $EUID -ne 0 ]] || ip -n "$name" link set lo up 2>/dev/null; then return; fi
  # A name may be left of a namespace that is gone.
  ip netns delete "$name" 2>/dev/null || true
  { ip netns add "$name" && ip -n "$name" link set lo up; } || echo "there is no network namespace for $*"
}

# door_of PART: the words to put before a command so that it runs in the part's namespace.
door_of() {
  local name
  name=$(cat "$rig/$1/netns" 2>/dev/null || true)
  if [[ $name ]]; then echo nsenter "--net=/run/netns/$name"; fi
}

within() {
  local part=$1
  shift
  # shellcheck disable=SC2046 # a door is several words or none
  $(door_of "$part") "$@"
}

remove_namespaces() {
  local name
  # shellcheck disable=SC2013 # names are words
  for name in $(cat "$rig"/*/netns 2>/dev/null | sort -u); do
    if [[ -e /run/netns/$name ]]; then ip netns delete "$name"; fi
  done
  # `ip netns` leaves its folder as a mount.
  if [[ -d /run/netns && ! $(ls -A /run/netns) ]]; then
    umount /run/netns || true
    rmdir /run/netns
  fi
}
