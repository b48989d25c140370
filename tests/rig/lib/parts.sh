# shellcheck shell=bash disable=SC2154
# What all parts have in common: a folder $rig/PART with the files pid, log, env (when it can be used) and missing (the
# reason why not), and one process that names a file of this folder on its command line, by which it is recognised.

declare -A attempts=()

fail() {
  echo "$*" >&2
  exit 1
}

# attempt PART COMMAND...: runs the command beside other attempts; `settle` waits for all of them.
attempt() {
  local part=$1
  shift
  "$@" 2>"$rig/$part/errors" &
  attempts[$!]=$part
}

settle() {
  local pid part
  for pid in "${!attempts[@]}"; do
    part=${attempts[$pid]}
    if wait "$pid"; then
      rm -f "$rig/$part/missing"
    else
      tail -n 1 "$rig/$part/errors" >"$rig/$part/missing"
    fi
  done
  attempts=()
}

is_missing() {
  [[ -e $rig/$1/missing ]]
}

# launch PART COMMAND...: starts a process that outlives this script, in the part's network namespace.
launch() {
  local part=$1
  shift
  # shellcheck disable=SC2046 # a door is several words or none
  setsid $(door_of "$part") "$@" </dev/null >>"$rig/$part/log" 2>&1 9<&- &
  echo $! >"$rig/$part/pid"
}

# await PART SECONDS PROBE...: until the probe succeeds, as long as the process lives.
await() {
  local part=$1 limit=$((SECONDS + $2))
  shift 2
  until "$@" &>/dev/null; do
    kill -0 "$(cat "$rig/$part/pid")" 2>/dev/null || fail "it ended at its start: $(tail -n 1 "$rig/$part/log")"
    ((SECONDS < limit)) || fail "it was not ready in time, see $rig/$part/log"
    sleep 0.05
  done
}

alive() {
  local pid
  pid=$(cat "$rig/$1/pid" 2>/dev/null) && [[ $pid ]] && names_a_file_of "$pid" "$rig/$1/"
}

names_a_file_of() {
  grep -qaF -- "$2" "/proc/$1/cmdline" 2>/dev/null
}

stop() {
  local part=$1 limit=$((SECONDS + 20))
  if ! alive "$part"; then return; fi
  kill "$(cat "$rig/$part/pid")"
  while alive "$part"; do
    if ((SECONDS >= limit)); then kill -KILL "$(cat "$rig/$part/pid")"; fi
    sleep 0.05
  done
}

needs_root() {
  [[ $EUID -eq 0 ]] || fail "it needs root"
}

# programs_of FAMILY: the folder that `build.sh FAMILY` fills.
programs_of() {
  "$here/build.sh" --bin "$1"
}
