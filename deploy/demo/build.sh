# shellcheck shell=bash disable=SC2034,SC2154
# trueup, built from this checkout.

# Under sudo, the checkout and Rust belong to the person who called it: nothing in it may become root's.
caller=${SUDO_USER:-$(id -un)}
caller_home=$(getent passwd "$caller" | cut -d: -f6)
export PATH=$PATH:${CARGO_HOME:-$caller_home/.cargo}/bin

as_caller() {
  if [[ $caller == "$(id -un)" ]]; then
    "$@"
  else
    runuser --user "$caller" -- env HOME="$caller_home" "$@"
  fi
}

build_trueup() {
  as_caller env CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=60 cargo build --manifest-path "$checkout/Cargo.toml" --package trueup
}

# The binary, wherever cargo is configured to put it.
built_binary() {
  local target
  target=$(as_caller cargo metadata --manifest-path "$checkout/Cargo.toml" --no-deps --format-version 1 |
    grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
  echo "$target/debug/trueup"
}
