#!/usr/bin/env bash
# The test rig: real engines, registries and a Git server on this machine, for the tests of trueup. See README.md.
#
#   rig.sh up [PART...]       start what is not running of these parts, or of the usual ones, and say what could not be
#                             started and why
#   rig.sh down               stop and remove everything that `up` made
#   rig.sh status             one line a part
#   rig.sh env                how to reach the parts, as KEY=value lines
#   rig.sh restart PART       start engine20, engine29 or kubernetes again, also after it was killed
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rig=${TRUEUP_RIG_DIR:-/run/trueup-rig}       # sockets, pid files, logs, secrets: gone after `down`
data=${TRUEUP_RIG_DATA:-/var/lib/trueup-rig} # what needs a real disk: gone after `down`, too
# shellcheck disable=SC2034 # the files of lib use it
first_port=${TRUEUP_RIG_FIRST_PORT:-18700}
PATH=$PATH:/usr/sbin:/sbin
usual=(engine20 engine29 registry20 registry29 git)
parts=("${usual[@]}" kubernetes node)
declare -A stands_on=([registry20]=engine20 [registry29]=engine29 [node]=kubernetes)
declare -A wanted=() # the parts that this `up` is about

for file in parts packages namespaces engines images registries git kubernetes node; do
  # shellcheck source=/dev/null
  source "$here/lib/$file.sh"
done

up() {
  local began=$SECONDS part
  choose_parts "$@"
  prepare_folders
  install_missing_packages
  make_secret registry-password
  make_secret git-token
  choose_namespaces

  for part in "${parts[@]}"; do
    if [[ ${wanted[$part]:-} && $part != node ]]; then attempt "$part" start_part "$part"; fi
  done
  settle

  if [[ ${wanted[node]:-} ]]; then attempt node start_node; fi
  fill_if_up engine20 registry20
  fill_if_up engine29 registry29
  settle

  write_env
  status
  echo "up in $((SECONDS - began)) s"
}

choose_parts() {
  local part
  if (($# == 0)); then set -- "${usual[@]}"; fi
  for part in "$@"; do
    [[ " ${parts[*]} " == *" $part "* ]] || fail "there is no part '$part', only ${parts[*]}"
    wanted[$part]=yes
    if [[ ${stands_on[$part]:-} ]]; then wanted[${stands_on[$part]}]=yes; fi
  done
}

start_part() {
  case $1 in
    registry*) start_registry "$1" ;;
    *) "start_$1" ;;
  esac
}

remove_part() {
  case $1 in
    engine*) remove_engine "$1" ;;
    kubernetes) stop_kubernetes ;;
    node) remove_node ;;
    *) stop "$1" ;;
  esac
}

# A registry is of use only together with an engine that can push the test images to it.
fill_if_up() {
  local engine=$1 registry=$2
  if [[ ! ${wanted[$registry]:-} ]] || is_missing "$registry"; then return; fi
  if is_missing "$engine"; then
    attempt "$registry" fail "its engine is missing: $(cat "$rig/$engine/missing")"
  else
    attempt "$registry" fill_registry "$engine" "$registry"
  fi
}

# Only what this rig has started is touched: names of namespaces, bridges and control groups are the same in every rig.
down() {
  local part made=()
  for part in "${parts[@]}"; do
    if [[ -d $rig/$part || -d $data/$part ]]; then made+=("$part"); fi
  done
  for part in "${made[@]}"; do
    mkdir -p "$rig/$part"
    if [[ $part != engine* ]]; then attempt "$part" remove_part "$part"; fi
  done
  settle
  for part in "${made[@]}"; do
    if [[ $part == engine* ]]; then attempt "$part" remove_part "$part"; fi
  done
  settle
  for part in "${made[@]}"; do
    if is_missing "$part"; then fail "$part is still there: $(cat "$rig/$part/missing")"; fi
  done
  remove_namespaces
  remove_shared_folders
  rm -rf "$rig" "$data"
  echo "down"
}

status() {
  local part
  for part in "${parts[@]}"; do
    if is_missing "$part"; then
      echo "$part: missing: $(cat "$rig/$part/missing")"
    elif alive "$part"; then
      echo "$part: running, process $(cat "$rig/$part/pid")"
    else
      echo "$part: stopped"
    fi
  done
}

prepare_folders() {
  local part
  for part in "${!wanted[@]}"; do
    mkdir -p "$rig/$part" "$data/$part" 2>/dev/null ||
      fail "cannot write to $rig and $data: be root, or set TRUEUP_RIG_DIR and TRUEUP_RIG_DATA"
  done
}

make_secret() {
  if [[ ! -s $rig/$1 ]]; then (umask 077 && openssl rand -hex 24 >"$rig/$1"); fi
}

# Parts say how to reach them in a file `env` of their folder; what two of them say is written once.
write_env() {
  local part
  for part in "${parts[@]}"; do
    if is_missing "$part"; then
      echo "TRUEUP_RIG_MISSING_${part^^}=\"$(tr -d '"\\`$' <"$rig/$part/missing")\""
    elif [[ -e $rig/$part/env ]]; then
      cat "$rig/$part/env"
    fi
  done | awk '!seen[$0]++' >"$rig/env.new"
  mv "$rig/env.new" "$rig/env"
}

restart() {
  case $1 in
    engine20 | engine29) restart_engine "$1" ;;
    kubernetes) restart_kubernetes ;;
    *) fail "'$1' cannot be restarted, only engine20, engine29 and kubernetes" ;;
  esac
}

one_at_a_time() {
  exec 9<"$here/rig.sh"
  flock 9
}

case ${1:-} in
  up) one_at_a_time && up "${@:2}" ;;
  down) one_at_a_time && down ;;
  status) status ;;
  env) cat "$rig/env" 2>/dev/null || fail "the rig is not up" ;;
  restart) one_at_a_time && restart "${2:?restart needs a part}" ;;
  *) fail "usage: rig.sh up [PART...]|down|status|env|restart PART" ;;
esac
