# shellcheck shell=bash disable=SC2154
# The registries with a password. Each engine has one on the loopback of its own namespace, as engines allow plain HTTP
# there.

declare -A port_of=([registry20]=$first_port [registry29]=$((first_port + 1)))

start_registry() {
  local part=$1 address=127.0.0.1:${port_of[$1]}
  if [[ $(door_of "$part") ]]; then needs_root; fi
  needs htpasswd curl
  "$here/build.sh" registry
  if ! alive "$part"; then
    htpasswd -niB trueup <"$rig/registry-password" >"$rig/$part/htpasswd"
    registry_config "$part" "$address" >"$rig/$part/config.yml"
    OTEL_TRACES_EXPORTER=none launch "$part" "$(programs_of registry)/registry" serve "$rig/$part/config.yml"
    await "$part" 20 registry_answers "$part" "$address"
  fi
  cat >"$rig/$part/env" <<ENV
TRUEUP_RIG_${part^^}=$address
TRUEUP_RIG_REGISTRY_USER=trueup
TRUEUP_RIG_REGISTRY_PASSWORD_FILE=$rig/registry-password
ENV
}

registry_config() {
  cat <<YAML
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: $data/$1}
  delete: {enabled: true}
http: {addr: '$2'}
auth:
  htpasswd: {realm: trueup rig, path: $rig/$1/htpasswd}
YAML
}

registry_answers() {
  within "$1" curl -fs -o /dev/null -K - "http://$2/v2/" <<<"user = trueup:$(cat "$rig/registry-password")"
}

# fill_registry ENGINE REGISTRY: pushes both versions of the test image as test/busybox.
fill_registry() {
  local engine=$1 address=127.0.0.1:${port_of[$2]} version name
  registry_login "$engine" "$address"
  for version in 1 2; do
    name=$address/test/busybox:$version
    docker_at "$engine" tag "trueup-test/busybox:$version" "$name"
    docker_at "$engine" push -q "$name" >/dev/null
    docker_at "$engine" rmi "$name" >/dev/null
  done
}

registry_login() {
  local auth
  auth=$({ printf trueup: && tr -d '\n' <"$rig/registry-password"; } | base64 -w0)
  (umask 077 && echo "{\"auths\": {\"$2\": {\"auth\": \"$auth\"}}}" >"$rig/$1/config.json")
}
