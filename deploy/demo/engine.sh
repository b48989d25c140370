# shellcheck shell=bash disable=SC2034,SC2154
# The Docker Engine: the one that runs, or one that the demo starts for itself and stops again.
#
# An engine of the demo keeps its data in the demo's folder, so that containers of an engine that somebody stopped stay
# as they are, and `down` leaves nothing behind.

engine_version() {
  docker version --format '{{.Server.Version}}' 2>/dev/null
}

ensure_engine() {
  if ! engine_version >/dev/null; then
    if [[ -d /run/systemd/system ]]; then start_service; else start_dockerd; fi
  fi
  say "engine     Docker Engine $(engine_version) at $DOCKER_HOST"
}

start_service() {
  systemctl start docker || fail "could not start Docker: systemctl status docker"
  await_engine
  touch "$demo/engine.service"
}

start_dockerd() {
  mkdir -p "$demo/engine" "$runtime/engine"
  setsid dockerd --data-root "$demo/engine" --exec-root "$runtime/engine" --pidfile "$demo/engine.pid" \
    --host "$DOCKER_HOST" </dev/null >"$demo/logs/engine" 2>&1 &
  await_engine
}

await_engine() {
  local limit=$((SECONDS + 60))
  until engine_version >/dev/null; do
    ((SECONDS < limit)) || fail "the engine did not start, see $demo/logs/engine"
    sleep 0.2
  done
}

# Stops the engine if the demo started it.
stop_engine() {
  local pid
  if [[ -e $demo/engine.service ]]; then
    systemctl stop docker.service docker.socket
    say "stopped the Docker service, which the demo had started"
  fi
  if pid=$(cat "$demo/engine.pid" 2>/dev/null) && is_process "$pid" "$demo/engine"; then
    kill "$pid"
    await_end "$pid" 30 || fail "the engine, process $pid, does not stop: see $demo/logs/engine"
    say "stopped the engine, which the demo had started"
  fi
  # One that was killed left its folder mounted.
  awk -v engine="$demo/engine" '$2 == engine || index($2, engine "/") == 1 { print $2 }' /proc/mounts |
    sort --reverse | xargs --no-run-if-empty umount
}

# is_process PID TEXT: whether this process runs and has TEXT on its command line. A process id alone may be somebody
# else's by now.
is_process() {
  [[ $1 ]] && tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "$2"
}

# await_end PID SECONDS
await_end() {
  local limit=$((SECONDS + $2))
  while kill -0 "$1" 2>/dev/null; do
    ((SECONDS < limit)) || return 1
    sleep 0.1
  done
}
