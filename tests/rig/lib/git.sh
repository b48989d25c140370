# shellcheck shell=bash disable=SC2154
# Git over HTTP and HTTPS: lighttpd with git-http-backend serves the bare repositories of one folder to the user whose
# password is the token. The certificate is from an authority that exists only for this rig.

start_git() {
  needs lighttpd /usr/lib/lighttpd/mod_openssl.so git htpasswd openssl curl
  local plain=$((first_port + 2)) tls=$((first_port + 3))
  if ! alive git; then
    make_certificates "$rig/git"
    htpasswd -nim trueup <"$rig/git-token" >"$rig/git/htpasswd"
    git_config "$plain" "$tls" >"$rig/git/lighttpd.conf"
    launch git lighttpd -D -f "$rig/git/lighttpd.conf"
    await git 10 git_answers "https://localhost:$tls/git"
  fi
  cat >"$rig/git/env" <<ENV
TRUEUP_RIG_GIT_ROOT=$data/git
TRUEUP_RIG_GIT_URL=http://127.0.0.1:$plain/git
TRUEUP_RIG_GIT_TLS_URL=https://localhost:$tls/git
TRUEUP_RIG_GIT_CA=$rig/git/ca.pem
TRUEUP_RIG_GIT_USER=trueup
TRUEUP_RIG_GIT_TOKEN_FILE=$rig/git-token
ENV
}

# The backend is told to trust repositories of other users, as the tests need not run as the server's.
git_config() {
  cat <<CONF
server.modules = ("mod_alias", "mod_auth", "mod_authn_file", "mod_cgi", "mod_setenv", "mod_openssl")
server.document-root = "$data/git"
server.upload-dirs = ("$rig/git")
server.bind = "127.0.0.1"
server.port = $1
\$SERVER["socket"] == "127.0.0.1:$2" {
  ssl.engine = "enable"
  ssl.pemfile = "$rig/git/server.pem"
  ssl.privkey = "$rig/git/server.key"
}
alias.url = ("/git" => "$(git --exec-path)/git-http-backend")
cgi.assign = ("" => "")
setenv.set-environment = (
  "GIT_PROJECT_ROOT" => "$data/git",
  "GIT_HTTP_EXPORT_ALL" => "1",
  "GIT_CONFIG_COUNT" => "1",
  "GIT_CONFIG_KEY_0" => "safe.directory",
  "GIT_CONFIG_VALUE_0" => "*",
)
auth.backend = "htpasswd"
auth.backend.htpasswd.userfile = "$rig/git/htpasswd"
auth.require = ("/" => ("method" => "basic", "realm" => "trueup rig", "require" => "user=trueup"))
CONF
}

make_certificates() {
  local kind=(-newkey ec -pkeyopt 'ec_paramgen_curve:P-256' -nodes -days 30)
  (
    umask 077
    cd "$1" || exit
    openssl req -x509 "${kind[@]}" -subj '/CN=trueup rig authority' -keyout ca.key -out ca.pem \
      -addext keyUsage=critical,keyCertSign
    openssl req -x509 "${kind[@]}" -subj '/CN=localhost' -keyout server.key -out server.pem -CA ca.pem -CAkey ca.key \
      -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -addext 'basicConstraints=critical,CA:FALSE' \
      -addext 'extendedKeyUsage=serverAuth'
    chmod 644 ca.pem
  )
}

# A wrong path is "not found" only for who has the token, so this is our server and it lets us in.
git_answers() {
  local answer
  answer=$(curl -s -o /dev/null -w '%{http_code}' --cacert "$rig/git/ca.pem" -K - "$1/none" \
    <<<"user = trueup:$(cat "$rig/git-token")")
  [[ $answer == 404 ]]
}
