# shellcheck shell=bash disable=SC2034,SC2154
# trueup, built from this checkout.

build_trueup() {
  cargo build --manifest-path "$checkout/Cargo.toml" --package trueup
}

# The binary, wherever cargo is configured to put it.
binary() {
  local target
  target=$(cargo metadata --manifest-path "$checkout/Cargo.toml" --no-deps --format-version 1 |
    grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
  echo "$target/debug/trueup"
}
