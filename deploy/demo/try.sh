# shellcheck shell=bash disable=SC2034,SC2154
# Commits for a person to watch: a good one, a bad one, and the way back.

haproxy_cfg=files/haproxy/haproxy.cfg

things_to_try() {
  cat <<TEXT

Things to try:
  $demo/trueup status                  one line an environment
  $demo/trueup history                 what was run
  http://127.0.0.1:19090/classic/targets         Prometheus (the servers are on this machine only)

  change something and commit:                   the repository is $repository
    deploy/demo.sh try edit                      more connections for HAProxy: exactly one server is replaced
    deploy/demo.sh try broken                    a mistake in its configuration: rolled back in seconds, and held
    deploy/demo.sh try fix                       reverts it: the hold ends by itself

  deploy/demo.sh down                            removes everything again

up in $SECONDS s
TEXT
}

try() {
  daemon_runs || fail "the demo is not up: deploy/demo.sh up"
  local before connections
  before=$(containers)
  case $1 in
    edit)
      connections=$(sed -nE 's/^  maxconn ([0-9]+)$/\1/p' "$repository/$haproxy_cfg")
      edit_haproxy "s/^  maxconn .*/  maxconn $((connections + 100))/" "haproxy: allow more connections"
      await_environment is_up 120
      ;;
    broken)
      edit_haproxy 's/^  maxconn /  maxcon /' "haproxy: allow fewer connections"
      await_environment is_held 120
      ;;
    fix)
      git -C "$repository" revert --no-edit HEAD >/dev/null
      say "commit     $(git -C "$repository" log -1 --format='%h "%s"')"
      await_environment is_up 120
      ;;
    *) echo "usage: demo.sh try edit|broken|fix" >&2 && exit 64 ;;
  esac
  echo && trueup status && echo
  trueup history --limit 3
  echo && say "replaced: $(differences 1,2 "$before")"
  say "started again: $(differences 1-3 "$before")"
}

# edit_haproxy SED-EXPRESSION SUBJECT: edits its configuration, shows the difference, commits.
edit_haproxy() {
  sed -i -E "$1" "$repository/$haproxy_cfg"
  if git -C "$repository" diff --quiet; then
    fail "there is nothing to change in $haproxy_cfg; is the last commit a mistake? demo.sh try fix"
  fi
  git -C "$repository" --no-pager diff --unified=0 --no-color | sed -n '/^@@/,$p'
  commit_all "$2"
  say "commit     $(git -C "$repository" log -1 --format='%h "%s"')"
}

# differences FIELDS BEFORE: the components whose fields in `containers` are not what they were before.
differences() {
  local names
  names=$(comm -13 <(cut -d ' ' -f "$1" <<<"$2") <(containers | cut -d ' ' -f "$1") | cut -d ' ' -f 1 | paste -sd ' ')
  echo "${names:-none}"
}

# One line a container: its component, id and start time.
containers() {
  local format='{{index .Config.Labels "dev.trueup.component"}} {{.Id}} {{.State.StartedAt}}'
  docker ps --quiet --filter label=dev.trueup.source=demo |
    xargs --no-run-if-empty docker inspect --format "$format" | sort
}
