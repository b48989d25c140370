# shellcheck shell=bash disable=SC2034,SC2154
# The demo's own Git repository, made from sample-repo with a fresh key and fresh passwords, and the daemon's
# configuration.

repository=$demo/repo
config=$demo/trueup-daemon.yaml

# Made once: what a person has committed since stays.
make_repository() {
  if [[ -d $repository/.git ]] && git -C "$repository" rev-parse --quiet --verify HEAD >/dev/null; then return; fi
  rm -rf "$repository" "$demo/age.key"
  git init --quiet --initial-branch=main "$repository"
  git -C "$repository" config user.name "trueup demo"
  git -C "$repository" config user.email demo@localhost
  mkdir "$repository/environments"
  cp -r "$checkout"/sample-repo/{trueup.yaml,components,files} "$repository/"
  cp -r "$checkout/sample-repo/environments/demo" "$repository/environments/"

  local recipient
  recipient=$("$binary" secret init "$demo/age.key" | grep -o 'age1[0-9a-z]*' | head -n 1) ||
    fail "trueup could not make a key"
  sed -i "s/recipients: .*/recipients: [$recipient]/" "$repository/environments/demo/environment.yaml"
  make_secrets
  commit_all "demo: seven servers"
  say "repository $repository, secrets encrypted for a fresh key"
}

# The passwords go from here into age files and nowhere else.
make_secrets() {
  rm -f "$repository"/environments/demo/secrets/*.age
  printf '%s: %s\n' superuser "$(password)" nessie "$(password)" exporter "$(password)" |
    "$binary" --dir "$repository" secret encrypt demo secrets/postgresql.age >/dev/null ||
    fail "trueup could not encrypt the passwords"
}

password() {
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

commit_all() {
  git -C "$repository" add --all
  git -C "$repository" commit --quiet --message "$1"
}

write_config() {
  cat >"$config" <<YAML
# The operator's side of the demo: where things are. What runs is said in the repository.
stateDir: $demo/state
runtimeDir: $runtime/secrets
keys: [$demo/age.key]
sources:
  - name: demo
    url: $repository
    reference: main
    environments: [demo]
targets:
  local: {docker: "$DOCKER_HOST", allow: [demo]}
subnetPool: [10.88.0.0/16]
listen: $metrics_address:9180
log: {format: text, level: info}
YAML
  # For people: the binary with this configuration, under a name that does not change.
  printf '#!/bin/sh\nexec %q --config %q "$@"\n' "$binary" "$config" >"$demo/trueup"
  chmod 755 "$demo/trueup"
}

trueup() {
  "$demo/trueup" "$@"
}
