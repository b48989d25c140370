#!/usr/bin/env bash
# The test rig: real engines, registries and a Git server on this machine, for the tests of trueup. See README.md.
#
#   rig.sh up                 start every part that is not running, and say which could not be started and why
#   rig.sh down               stop and remove everything that `up` made
#   rig.sh status             one line a part
#   rig.sh env                how to reach the parts, as KEY=value lines
#   rig.sh restart ENGINE     start engine20 or engine29 again, also after it was killed
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rig=${TRUEUP_RIG_DIR:-/run/trueup-rig}       # sockets, pid files, logs, secrets: gone after `down`
data=${TRUEUP_RIG_DATA:-/var/lib/trueup-rig} # what needs a real disk: gone after `down`, too
# shellcheck disable=SC2034 # the files of lib use it
first_port=${TRUEUP_RIG_FIRST_PORT:-18700}
PATH=$PATH:/usr/sbin:/sbin
parts=(engine20 engine29 registry20 registry29 git)

for file in parts packages namespaces engines images registries git; do
  # shellcheck source=/dev/null
  source "$here/lib/$file.sh"
done

up() {
  local began=$SECONDS
  prepare_folders
  install_missing_packages
  make_secret registry-password
  make_secret git-token
  choose_namespaces

  attempt engine20 start_engine20
  attempt engine29 start_engine29
  attempt registry20 start_registry registry20
  attempt registry29 start_registry registry29
  attempt git start_git
  settle

  fill_if_up engine20 registry20
  fill_if_up engine29 registry29
  settle

  write_env
  status
  echo "up in $((SECONDS - began)) s"
}

# A registry is of use only together with an engine that can push the test images to it.
fill_if_up() {
  local engine=$1 registry=$2
  if is_missing "$registry"; then return; fi
  if is_missing "$engine"; then
    attempt "$registry" fail "its engine is missing: $(cat "$rig/$engine/missing")"
  else
    attempt "$registry" fill_registry "$engine" "$registry"
  fi
}

down() {
  local part
  for part in "${parts[@]}"; do mkdir -p "$rig/$part"; done
  attempt git stop git
  attempt registry20 stop registry20
  attempt registry29 stop registry29
  attempt engine20 remove_engine engine20
  attempt engine29 remove_engine engine29
  settle
  for part in "${parts[@]}"; do
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
  for part in "${parts[@]}"; do
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
    else
      cat "$rig/$part/env"
    fi
  done | awk '!seen[$0]++' >"$rig/env.new"
  mv "$rig/env.new" "$rig/env"
}

one_at_a_time() {
  exec 9<"$here/rig.sh"
  flock 9
}

case ${1:-} in
  up) one_at_a_time && up ;;
  down) one_at_a_time && down ;;
  status) status ;;
  env) cat "$rig/env" 2>/dev/null || fail "the rig is not up" ;;
  restart) one_at_a_time && restart_engine "${2:?restart needs engine20 or engine29}" ;;
  *) fail "usage: rig.sh up|down|status|env|restart ENGINE" ;;
esac
