#!/usr/bin/env bash
# Passes the tests: formatting, lints, dependencies, unit tests, and everything against the real thing.
#
#   tests/run.sh            all of it
#   tests/run.sh FILTER     only the tests whose names hold FILTER
#
# It obtains and starts what the tests need (two Docker Engines, a registry, Git over HTTP), and stops
# what it started. What it cannot have it names; those tests are counted as ignored, in CI as failed.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-2}

stage() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

check_sources() {
  stage 'format, lints, documentation'
  cargo fmt --all --check
  cargo clippy --workspace --all-targets --quiet -- -D warnings
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
  if command -v cargo-deny >/dev/null; then
    stage 'dependencies and licenses'
    cargo deny --log-level error check bans licenses sources
  else
    echo 'cargo-deny is not installed: the rules of deny.toml were not checked (cargo install cargo-deny)'
  fi
}

main() {
  [ "$#" -gt 0 ] || check_sources
  stage 'build'
  cargo build --workspace --all-targets --quiet
  stage 'the real parts'
  trap 'tests/rig/rig.sh down' EXIT
  tests/rig/rig.sh up || echo 'some parts are missing, see above'
  stage 'tests'
  cargo test --workspace --no-fail-fast -- "$@"
}

main "$@"
