# shellcheck shell=bash disable=SC2034,SC2154
# The daemon in the background, and waiting for what it does.

bring_up_limit=300 # seconds; a slow disk makes PostgreSQL's first start long

start_daemon() {
  if daemon_runs && [[ $binary -nt $demo/daemon.pid ]]; then stop_daemon; fi
  if daemon_runs; then
    say "daemon     runs already, process $(cat "$demo/daemon.pid")"
    return
  fi
  setsid "$binary" --config "$config" daemon </dev/null >>"$demo/logs/daemon" 2>&1 &
  echo $! >"$demo/daemon.pid"
  say "daemon     process $!, its log is $demo/logs/daemon"
}

daemon_pid() {
  cat "$demo/daemon.pid" 2>/dev/null
}

daemon_runs() {
  is_process "$(daemon_pid)" "$config"
}

# A run that is under way is finished or rolled back first, so this can take as long as the daemon's grace.
stop_daemon() {
  local pid
  if ! daemon_runs; then return; fi
  pid=$(daemon_pid)
  kill "$pid"
  if ! await_end "$pid" 45; then
    say "the daemon does not stop, killing it"
    kill -KILL "$pid"
    await_end "$pid" 10 || fail "process $pid cannot be killed"
  fi
  say "stopped the daemon"
}

# field JQ-PATH: one field of the environment's status; empty while nothing is known of it.
field() {
  { trueup status demo --output json 2>/dev/null || true; } | jq --raw-output ".environments[0].$1 // empty"
}

# Whether the newest commit was compared with what runs, and nothing differs.
is_up() {
  [[ $(field compared.commit) == "$(head_commit)" && $(field sync) == Synced && $(field health) == Healthy ]]
}

# Whether the newest commit is held: it was rolled back, or it wants what was rolled back before. A hold of an earlier
# one ends when the daemon has seen the newest.
is_held() {
  [[ $(field compared.commit) == "$(head_commit)" && $(field sync) == Held ]]
}

head_commit() {
  git -C "$repository" rev-parse HEAD
}

# await_environment CONDITION SECONDS
await_environment() {
  local condition=$1 limit=$((SECONDS + $2)) since=$SECONDS
  until "$condition"; do
    live "demo       $(field sync) $(field health): $(field why)"
    daemon_runs || fail "the daemon ended: $(tail -n 3 "$demo/logs/daemon")"
    if [[ $condition != is_held ]] && is_held; then fail "the environment is held: $(field why)"; fi
    ((SECONDS < limit)) || fail "still $(field sync) after $2 s: $(field why); see $demo/logs/daemon"
    sleep 0.5
  done
  say "demo       $(field sync) and $(field health) after $((SECONDS - since)) s"
}

# Removes what the environment has on the engine: by trueup, or, when that cannot, by its labels.
destroy_environment() {
  if ! engine_version >/dev/null; then return; fi
  if [[ -x $demo/trueup ]]; then
    trueup env destroy demo --volumes --yes --reason "demo.sh down" || say "trueup could not remove it all"
  fi
  local mine=label=dev.trueup.source=demo
  docker ps --all --quiet --filter "$mine" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
  docker network ls --quiet --filter "$mine" | xargs --no-run-if-empty docker network rm >/dev/null
  docker volume ls --quiet --filter "$mine" | xargs --no-run-if-empty docker volume rm >/dev/null
  docker image rm "$("$here/demo/image.sh" name)" >/dev/null 2>&1 || true # when it was never loaded
  say "removed containers, networks, volumes and the image"
}
