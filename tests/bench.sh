#!/usr/bin/env bash
# Measures how fast trueup is, beside Docker Compose and bare calls of the engine's API, in one run.
#
#   tests/bench.sh              on both engines of the rig, and how a commit grows with what it did not touch
#   tests/bench.sh engine29     only beside the others, on one engine
#
# The tables are printed and written to target/bench as JSON.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
rig=tests/rig/rig.sh

main() {
  local engine engines=(engine20 engine29)
  if (($#)); then engines=("$@"); fi
  mkdir -p "$target/bench"
  cargo build --quiet --release --bin trueup
  cargo bench --quiet --package trueup-tests --no-run
  tests/rig/build.sh compose
  [[ $("$rig" status) == *running* ]] || trap '"$rig" down' EXIT
  "$rig" up
  export TRUEUP_BINARY=$target/release/trueup
  TRUEUP_BENCH_COMPOSE=$(tests/rig/build.sh --bin compose)/docker-compose
  export TRUEUP_BENCH_COMPOSE
  for engine in "${engines[@]}"; do peer "$engine"; done
  if (($# == 0)); then growth; fi
}

# Beside the others, on one engine, inside of its network namespace.
peer() {
  local name=TRUEUP_RIG_${1^^} namespace inside=()
  namespace=$(value "${name}_NETNS")
  if [[ $namespace ]]; then inside=(nsenter "--net=/run/netns/$namespace"); fi
  echo
  echo "== $1"
  DOCKER_HOST=$(value "$name") TRUEUP_BENCH_JSON=$target/bench/$1.json \
    "${inside[@]}" cargo bench --quiet --package trueup-tests -- peer
}

# value KEY: what the rig says.
value() {
  "$rig" env | sed -n "s/^$1=//p"
}

growth() {
  echo
  echo "== growth"
  cargo bench --quiet --package trueup-tests
}

main "$@"
