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
  stage 'dependencies and licenses'
  cargo_deny --log-level error check bans licenses sources
}

# cargo-deny, built once and kept outside of the checkout.
cargo_deny() {
  local version=0.20.2 root
  root=${TRUEUP_RIG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trueup-rig}/cargo-deny-$version
  [ -x "$root/bin/cargo-deny" ] || CARGO_TARGET_DIR=$root/target cargo install --quiet --locked --version "$version" --root "$root" cargo-deny
  rm -rf "$root/target"
  "$root/bin/cargo-deny" "$@"
}

main() {
  [ "$#" -gt 0 ] || check_sources
  stage 'build'
  cargo build --workspace --all-targets --quiet
  stage 'the real parts'
  # A rig that somebody keeps up stays up.
  [[ $(tests/rig/rig.sh status) == *running* ]] || trap 'tests/rig/rig.sh down' EXIT
  tests/rig/rig.sh up || echo 'some parts are missing, see above'
  stage 'tests'
  cargo test --workspace --no-fail-fast -- "$@"
}

main "$@"
