# shellcheck shell=bash disable=SC2154
# The two Docker engines: engine20 is Debian's, engine29 a current one built here. Each has its own containerd, folders,
# bridge and addresses, so neither disturbs the other one or an engine that the machine already has.

declare -A addresses_of=([engine20]=10.201 [engine29]=10.202)

start_engine20() {
  needs_root
  needs dockerd iptables ip curl docker
  start_engine engine20
}

start_engine29() {
  needs_root
  needs iptables ip curl docker
  "$here/build.sh" docker
  PATH=$(programs_of docker):$PATH start_engine engine29
}

# Also after a kill, with what it left behind.
start_engine() {
  local part=$1
  if ! alive "$part"; then
    remember_host "$part"
    make_bridge "$part"
    engine_config "$part" >"$rig/$part/daemon.json"
    forget_dead_processes "$part"
    launch "$part" dockerd --config-file "$rig/$part/daemon.json"
    await "$part" 60 curl -fs --unix-socket "$rig/$part/docker.sock" http://engine/_ping
  fi
  load_images "$part"
  engine_env "$part" >"$rig/$part/env"
}

engine_config() {
  local part=$1
  cat <<JSON
{
  "hosts": ["unix://$rig/$part/docker.sock"],
  "pidfile": "$rig/$part/dockerd.pid",
  "data-root": "$data/$part",
  "exec-root": "$rig/$part/exec",
  "cgroup-parent": "/trueup-rig/$part",
  "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "bridge": "$(bridge_of "$part")",
  "default-address-pools": [{"base": "${addresses_of[$part]}.0.0/17", "size": 24}]
}
JSON
}

engine_env() {
  local part=$1 key=TRUEUP_RIG_${1^^} netns
  netns=$(cat "$rig/$part/netns")
  echo "$key=unix://$rig/$part/docker.sock"
  if [[ $netns ]]; then echo "${key}_NETNS=$netns"; fi
  echo "${key}_PIDFILE=$rig/$part/pid"
  echo "${key}_RESTART=\"$here/rig.sh restart $part\""
}

docker_at() {
  local part=$1
  shift
  env -u DOCKER_HOST -u DOCKER_CONTEXT DOCKER_CONFIG="$rig/$part" docker -H "unix://$rig/$part/docker.sock" "$@"
}

restart_engine() {
  [[ ${addresses_of[$1]:-} ]] || fail "'$1' is not an engine of the rig"
  [[ -e $rig/$1/daemon.json ]] || fail "$1 was never up"
  stop "$1"
  "start_$1"
}

# A dead engine's pid files may name someone else's process by now; the engine would believe that it runs already.
forget_dead_processes() {
  local part=$1 file
  for file in "$rig/$part/dockerd.pid" "$rig/$part/exec/containerd/containerd.pid"; do
    if [[ -e $file ]] && ! names_a_file_of "$(cat "$file")" "$rig/$part/"; then rm "$file"; fi
  done
}

# Does an engine that is not of the rig run in the host's network namespace?
other_engine_runs() {
  local process name
  for process in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$process/comm" || continue
    if [[ $name == dockerd && $process/ns/net -ef /proc/self/ns/net ]] &&
      ! names_a_file_of "${process#/proc/}" "$rig/"; then return; fi
  done
  return 1
}

# --- removal --------------------------------------------------------------------------------------------------------

remove_engine() {
  local part=$1 containers
  # Only the engine knows which bridges and packet filter rules of the host it has made.
  if [[ -e $rig/$part/daemon.json && ! $(door_of "$part") ]] && ! alive "$part"; then "start_$part"; fi
  if alive "$part"; then
    containers=$(docker_at "$part" ps -aq)
    # shellcheck disable=SC2086 # several words
    if [[ $containers ]]; then docker_at "$part" rm -fv $containers >/dev/null; fi
    docker_at "$part" network prune -f >/dev/null
    stop "$part"
  fi
  end_leftovers "$part"
  unmount_all "$rig/$part" "$data/$part"
  remove_bridge "$part"
  restore_host "$part"
}

# Shims name the engine's folder, and containers are in its control group.
end_leftovers() {
  local part=$1 process group
  for process in /proc/[0-9]*; do
    if names_a_file_of "${process#/proc/}" "$rig/$part/exec/"; then kill -KILL "${process#/proc/}" || true; fi
  done
  for group in /sys/fs/cgroup/trueup-rig/"$part" /sys/fs/cgroup/*/trueup-rig/"$part"; do
    if [[ ! -d $group ]]; then continue; fi
    end_group "$group" || fail "the control group $group is still in use"
  done
}

# A group can be removed once its processes are gone, a moment after they were killed.
end_group() {
  local limit=$((SECONDS + 10))
  while [[ -d $1 ]]; do
    # shellcheck disable=SC2038 # process ids
    find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    ((SECONDS < limit)) || return 1
    sleep 0.05
  done
}

# A killed engine leaves the mounts of its containers, and its folders mounted on themselves.
unmount_all() {
  local folder
  for folder in "$@"; do
    awk -v folder="$folder/" 'index($2 "/", folder) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
  done
}

# --- what the host has of an engine ---------------------------------------------------------------------------------

bridge_of() {
  echo "trg${1#engine}"
}

make_bridge() {
  local bridge
  bridge=$(bridge_of "$1")
  if within "$1" ip link show "$bridge" &>/dev/null; then return; fi
  within "$1" ip link add "$bridge" type bridge
  within "$1" ip address add "${addresses_of[$1]}.255.1/24" dev "$bridge"
  within "$1" ip link set "$bridge" up
}

remove_bridge() {
  if within "$1" ip link show "$(bridge_of "$1")" &>/dev/null; then within "$1" ip link delete "$(bridge_of "$1")"; fi
}

# An engine in the host's namespace changes settings of the host; `down` puts them back. Debian's also makes a key.
engine_key=/etc/docker/key.json
host_settings=(net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables)

remember_host() {
  local before=$rig/$1/host-before
  if [[ $(door_of "$1") || -e $before ]]; then return; fi
  sysctl -e "${host_settings[@]}" >"$before.sysctl" 2>/dev/null || true
  if [[ ! -e $engine_key ]]; then touch "$before.no-key"; fi
  iptables -S FORWARD | sed -n 1p >"$before"
}

restore_host() {
  local before=$rig/$1/host-before tool policy
  if [[ ! -e $before ]] || other_engine_runs; then return; fi
  if [[ -e $before.no-key ]]; then rm -f "$engine_key"; fi
  sysctl -q -p "$before.sysctl"
  read -r _ _ policy <"$before"
  iptables -P FORWARD "$policy"
  for tool in iptables ip6tables; do
    "$tool-save" | sed -E "/DOCKER|$(bridge_of "$1")/d" | "$tool-restore"
  done
}

# What both engines and the node use.
remove_shared_folders() {
  local folders=(/sys/fs/cgroup/trueup-rig /sys/fs/cgroup/*/trueup-rig)
  if ! other_engine_runs; then
    folders+=(/run/docker/plugins /run/docker /run/containerd/s /run/containerd/runc /run/containerd)
  fi
  rmdir "${folders[@]}" 2>/dev/null || true
}
