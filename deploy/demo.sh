#!/usr/bin/env bash
# trueup in one command: seven real servers on this machine, brought up from a Git repository and kept as it says.
#
#   demo.sh [up]            build trueup and the servers' image, bring the servers up, prove that they work
#   demo.sh status          what runs
#   demo.sh try edit        commit a change: exactly one server is replaced
#   demo.sh try broken      commit a mistake: it is rolled back and held
#   demo.sh try fix         revert the last commit
#   demo.sh down            remove everything that `up` made
#
# Needs root, because servers get secret files that belong to their own user ids, a Debian-like machine, Rust and 3 GB
# of disk.
#
#   TRUEUP_DEMO_DIR         where the demo keeps its things      [/var/lib/trueup-demo]
#   DOCKER_HOST             the engine to use, a Unix socket     [unix:///var/run/docker.sock]
# shellcheck disable=SC2034,SC2154 # the files in demo/ and this one share their variables
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
demo=${TRUEUP_DEMO_DIR:-/var/lib/trueup-demo}
runtime=/run/trueup-demo # what must not reach a disk
export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}

for file in show build machine engine repository daemon proof try; do
  # shellcheck source=/dev/null
  source "$here/demo/$file.sh"
done

up() {
  check_machine
  mkdir -p "$demo/logs"
  prepare_runtime
  add_metrics_address
  start_job trueup build_trueup
  ensure_engine
  start_job image "$here/demo/image.sh" load
  follow_jobs
  binary=$(built_binary)

  make_repository
  write_config
  start_daemon
  await_environment is_up "$bring_up_limit"

  echo && trueup status && echo
  prove_targets
  prove_alerts
  prove_query
  things_to_try
}

status() {
  [[ -x $demo/trueup ]] || fail "the demo is not up: deploy/demo.sh up"
  daemon_runs || echo "the daemon is not running, deploy/demo.sh up starts it" >&2
  trueup status
}

down() {
  ((EUID == 0)) || fail "be root, as for up"
  stop_daemon
  # Containers outlive an engine that was killed, and only an engine removes them.
  if [[ -d $demo/engine ]]; then ensure_engine; fi
  destroy_environment
  stop_engine
  remove_runtime
  remove_metrics_address
  rm -rf "$demo"
  say "everything is removed; packages, the built binary and the image's archive in ~/.cache/trueup stay"
}

case ${1:-up} in
  up) up ;;
  down) down ;;
  status) status ;;
  try) try "${2:-}" ;;
  -h | --help) sed -n '2,/^# shellcheck/{/^# shellcheck/d; s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
  *) echo "usage: demo.sh [up|down|status|try edit|try broken|try fix]" >&2 && exit 64 ;;
esac
