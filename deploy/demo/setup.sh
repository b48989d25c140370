#!/bin/sh
# Turns a Debian 12 with the demo's packages into its image. Runs inside that system, once, as root.
#
# The servers get the user ids of their upstream images, so that `user` and `owner` in the catalogue hold for both.
set -eu
here=$(dirname "$0")

# renumber USER ID: gives a user and its group another id.
renumber() {
  groupmod --gid "$2" "$1"
  usermod --uid "$2" --gid "$2" "$1"
}

# What containers of these servers never read. PostgreSQL does without LLVM when llvmjit.so is not there; the
# cluster that its package made is not the one of the demo, which initdb makes on a volume.
strip_down() {
  rm -rf /var/lib/postgresql/15 /etc/postgresql /var/cache/* /var/lib/apt/lists/* /var/log/* \
    /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/i18n /usr/share/lintian \
    /usr/share/javascript/moment-timezone/data /usr/bin/promtool /usr/bin/amtool \
    /usr/lib/postgresql/15/lib/bitcode /usr/lib/postgresql/15/lib/llvmjit.so \
    /usr/lib/*/libLLVM-*.so* /usr/lib/*/libz3.so*
}

renumber postgres 70
renumber haproxy 99
strip_down

# Debian keeps PostgreSQL's programs in a folder of their version, which is not in PATH.
ln -sf /usr/lib/postgresql/15/bin/* /usr/local/bin/
install -m 0755 "$here/postgres-entrypoint" /usr/local/bin/
install -d -o 70 -g 70 -m 2775 /run/postgresql
