# shellcheck shell=bash disable=SC2034,SC2154
# What the servers themselves say: Prometheus about all its targets, and PostgreSQL through HAProxy.

targets_wanted=7 # prometheus, alertmanager, node-exporter, postgres-exporter, etcd, haproxy, and trueup itself

# container COMPONENT: the id of its running container.
container() {
  docker ps --quiet --filter label=dev.trueup.source=demo --filter "label=dev.trueup.component=$1" | head -n 1
}

# ask PATH: what Prometheus' own API answers.
ask() {
  docker exec "$(container prometheus)" wget -qO- "http://127.0.0.1:9090/api/v1/$1"
}

# One line a target: its job and whether it is up, from Prometheus' own API.
targets() {
  ask targets |
    jq --raw-output '.data.activeTargets[] | "\(.labels.job)\t\(.health)"' | sort
}

# A first scrape comes within the scrape interval of 15 s.
prove_targets() {
  local limit=$((SECONDS + 45)) up=0
  until up=$(targets | grep -c 'up$') && ((up >= targets_wanted)); do
    live "Prometheus has reached ${up:-0} of $targets_wanted targets"
    ((SECONDS < limit)) || fail "Prometheus does not reach all its targets: $(targets | paste -sd ' ')"
    sleep 1
  done
  say "proof      Prometheus says that all $up targets are up: $(targets | cut -f1 | paste -sd ' ')"
}

prove_alerts() {
  local counts
  ask rules | jq --exit-status '.data.groups | any(.name == "trueup")' >/dev/null ||
    fail "Prometheus does not have the alerts about trueup; is $repository of an earlier demo? demo.sh down removes it"
  counts=$(ask rules | jq --raw-output '[.data.groups[] | select(.name == "trueup") | .rules[].state] |
    "\(length) alerts about trueup, \(map(select(. == "firing")) | length) of them firing"')
  say "proof      Prometheus watches $counts"
}

prove_query() {
  local password answer
  password=$(trueup --dir "$repository" secret view demo secrets/postgresql.age | sed -n 's/^nessie: *//p')
  answer=$(PGPASSWORD=$password docker exec --env PGPASSWORD "$(container postgresql)" \
    psql --host=haproxy --username=nessie --dbname=nessie --no-psqlrc --tuples-only --no-align \
    --command="select format('%s in database %s on %s', current_user, current_database(), version())")
  say "proof      psql through HAProxy: ${answer%% (*}"
}
