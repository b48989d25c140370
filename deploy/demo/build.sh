# shellcheck shell=bash disable=SC2034,SC2154
# The two things that are built: trueup from this checkout, and the image, which image.sh makes.

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

image_size() {
  docker image inspect --format '{{.Size}}' "$("$here/demo/image.sh" name)" |
    awk '{printf "seven servers, %d MB", $1 / 1000000}'
}
