# shellcheck shell=bash disable=SC2154
# The two Docker engines: engine20 is Debian's, engine29 a current one built here. Each has its own containerd, folders,
# bridge and address pool, so neither disturbs the other or an engine that the machine already has.

start_engine20() {
  needs_root
  needs dockerd iptables ip curl
  # An engine throws away the packet filter rules of another one in the same namespace.
  if [[ ! -e $rig/engine20/netns ]]; then
    if other_engine_runs; then live_in engine20 trg20; else live_in engine20 ''; fi
  fi
  start_engine engine20 "$PATH" --deprecated-key-path "$data/engine20/key.json"
  load_images engine20
}

start_engine29() {
  local bin
  needs_root
  needs iptables ip curl
  bin=$(build docker)
  live_in engine29 trg29
  start_engine engine29 "$bin:$PATH"
  load_images engine29
}

# start_engine PART PATH OPTION...: also after a kill, with what it left behind.
start_engine() {
  local part=$1 path=$2 upper=${1^^}
  shift 2
  engine_env "$upper" >"$rig/$part/env"
  if alive "$part"; then return; fi
  remember_host "$part"
  make_bridge "$part"
  engine_config "$part" >"$rig/$part/daemon.json"
  echo "$path" >"$rig/$part/path"
  printf '%s\n' "$@" >"$rig/$part/options"
  rm -f "$rig/$part/dockerd.pid" "$rig/$part/docker.sock"
  forget_dead_containerd "$part"
  PATH=$path launch "$part" "$(type -P nsenter)"
}
