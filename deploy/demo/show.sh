# shellcheck shell=bash disable=SC2034,SC2154
# What the demo prints: a line a stage with the seconds since the start, and what its long jobs are doing.

declare -A jobs=() began=()

say() {
  clear_line
  printf '%4d s  %s\n' "$SECONDS" "$*"
}

fail() {
  clear_line
  printf '%4d s  error: %s\n' "$SECONDS" "$*" >&2
  exit 1
}

clear_line() {
  if [[ -t 1 ]]; then printf '\r\033[K'; fi
}

# live TEXT: a line that the next one replaces; where there is no terminal, one every 30 seconds.
last_live=0
live() {
  if [[ -t 1 ]]; then
    clear_line
    printf '%4d s  %.*s' "$SECONDS" "$(($(tput cols 2>/dev/null || echo 80) - 10))" "$*"
  elif ((SECONDS - last_live >= 30)); then
    last_live=$SECONDS
    say "$*"
  fi
}

# start_job NAME COMMAND...: runs it in the background with a log of its own, as a process group, so that all of it can
# be ended.
start_job() {
  local name=$1
  shift
  began[$name]=$SECONDS
  set -m
  "$@" </dev/null >"$demo/logs/$name" 2>&1 &
  set +m
  jobs[$name]=$!
}

# Waits for all jobs; the first that fails ends the demo.
follow_jobs() {
  local name
  while ((${#jobs[@]} > 0)); do
    for name in "${!jobs[@]}"; do
      kill -0 "${jobs[$name]}" 2>/dev/null || end_job "$name"
    done
    live "$(for name in "${!jobs[@]}"; do last_line "$name"; done | paste -sd " ")"
    sleep 0.5
  done
}

# The last line of a job's log, or its progress bar, which carriage returns draw again and again.
last_line() {
  local text
  text=$(tail -c 400 "$demo/logs/$1" | tr '\r' '\n' | sed 's/\x1b[^A-Za-z]*[A-Za-z]//g' | grep . | tail -n 1) || true
  echo "$1: ${text:0:70}"
}

end_job() {
  local name=$1 pid=${jobs[$1]}
  unset "jobs[$name]"
  if ! wait "$pid"; then
    clear_line
    tail -n 20 "$demo/logs/$name" >&2
    fail "$name failed, all of it is in $demo/logs/$name"
  fi
  say "$(printf '%-10s' "$name") ready after $((SECONDS - ${began[$name]})) s"
}

end_jobs() {
  local name
  for name in "${!jobs[@]}"; do kill -- "-${jobs[$name]}" 2>/dev/null || true; done
}
trap end_jobs EXIT
