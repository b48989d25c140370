# shellcheck shell=bash disable=SC2154
# Kubernetes without nodes: etcd, the API server and the controllers, three processes on loopback. What is declared is
# validated, stored and looked after as in any cluster, but no pod is ever run. The part's own process is the API server;
# the two others have a folder each in the part's.

kubernetes_url=https://127.0.0.1:$((first_port + 4))

# Name, id and groups, as the API server reads them after a token.
declare -A user_of=(
  [admin]='admin,1,system:masters'
  [stranger]='stranger,2'
  [controller-manager]='system:kube-controller-manager,3'
  [scheduler]='system:kube-scheduler,4'
  [proxy]='system:kube-proxy,5'
  [node]='system:node:rig,6,system:nodes'
)

start_kubernetes() {
  needs openssl curl
  build_kubernetes
  local folder=$rig/kubernetes
  mkdir -p "$folder/etcd" "$folder/controller-manager"
  make_users "$folder"
  # Whoever has read a kubeconfig still trusts it after a restart.
  if [[ ! -s $folder/server.pem ]]; then make_certificates "$folder"; fi
  if [[ ! -s $folder/kubelet-client.pem ]]; then make_kubelet_client "$folder"; fi
  audit_policy >"$folder/audit-policy.yaml"

  start_etcd
  start_api_server
  (
    umask 077
    kubeconfig admin >"$folder/admin.kubeconfig"
    kubeconfig stranger >"$folder/stranger.kubeconfig"
    kubeconfig controller-manager >"$folder/controller-manager/kubeconfig"
  )
  start_controller_manager
  kubernetes_env >"$folder/env"
}

# The programs are those of KUBEBUILDER_ASSETS, where other tests look for them, too; what is not there is built.
build_kubernetes() {
  local program
  for program in etcd kube-apiserver kube-controller-manager kubectl; do
    if [[ ! -x ${KUBEBUILDER_ASSETS:-}/$program ]]; then
      "$here/build.sh" kubernetes
      return
    fi
  done
}

kubernetes_program() {
  if [[ -x ${KUBEBUILDER_ASSETS:-}/$1 ]]; then echo "$KUBEBUILDER_ASSETS/$1"; else echo "$(programs_of kubernetes)/$1"; fi
}

# Each user has a token, and there is a key that signs the tokens of service accounts.
make_users() {
  local folder=$1 name
  for name in "${!user_of[@]}"; do make_secret "kubernetes/$name.token"; done
  (
    umask 077
    for name in "${!user_of[@]}"; do echo "$(cat "$folder/$name.token"),${user_of[$name]}"; done >"$folder/tokens.csv"
    [[ -s $folder/accounts.key ]] || openssl ecparam -name prime256v1 -genkey -noout -out "$folder/accounts.key"
  )
  if [[ ! -s $folder/accounts.pub ]]; then openssl ec -in "$folder/accounts.key" -pubout -out "$folder/accounts.pub"; fi
}

# How the API server shows a kubelet who it is: a certificate that is trusted as it is.
make_kubelet_client() {
  (umask 077 && openssl req -x509 -newkey ec -pkeyopt 'ec_paramgen_curve:P-256' -nodes -days 30 -subj '/CN=trueup rig' \
    -keyout "$1/kubelet-client.key" -out "$1/kubelet-client.pem")
}

# What the cluster does by itself is left out, so that the log says what its users have asked for.
audit_policy() {
  cat <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: ['system:apiserver', 'system:kube-controller-manager', 'system:kube-scheduler', 'system:kube-proxy']
  - {level: None, userGroups: ['system:serviceaccounts:kube-system', 'system:nodes']}
  - {level: None, nonResourceURLs: ['/readyz']}
  - {level: Metadata}
YAML
}

start_etcd() {
  local folder=$rig/kubernetes/etcd
  local clients=unix://$folder/clients.sock peers=unix://$folder/peers.sock
  if alive kubernetes/etcd; then return; fi
  launch kubernetes/etcd "$(kubernetes_program etcd)" --name rig --data-dir "$data/kubernetes/etcd" --unsafe-no-fsync \
    --listen-client-urls "$clients" --advertise-client-urls "$clients" \
    --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "rig=$peers" --log-level warn
  await kubernetes/etcd 30 curl -fs --unix-socket "$folder/clients.sock" http://etcd/health
}

# It has no node to name as its own address, so it keeps none (`--endpoint-reconciler-type none`).
start_api_server() {
  local folder=$rig/kubernetes
  if ! alive kubernetes; then
    launch kubernetes "$(kubernetes_program kube-apiserver)" --etcd-servers "unix://$folder/etcd/clients.sock" \
      --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "${kubernetes_url##*:}" \
      --tls-cert-file "$folder/server.pem" --tls-private-key-file "$folder/server.key" \
      --token-auth-file "$folder/tokens.csv" --authorization-mode Node,RBAC --service-account-issuer "$kubernetes_url" \
      --service-account-key-file "$folder/accounts.pub" --service-account-signing-key-file "$folder/accounts.key" \
      --audit-policy-file "$folder/audit-policy.yaml" --audit-log-path "$data/kubernetes/audit.log" \
      --kubelet-client-certificate "$folder/kubelet-client.pem" --kubelet-client-key "$folder/kubelet-client.key" \
      --kubelet-preferred-address-types InternalIP \
      --service-cluster-ip-range 10.203.0.0/24 --endpoint-reconciler-type none --allow-privileged=true
  fi
  await kubernetes 60 curl -fs --cacert "$folder/ca.pem" "$kubernetes_url/readyz"
}

# Ready when it has done something: a namespace without its service account takes no pods.
start_controller_manager() {
  local folder=$rig/kubernetes
  if ! alive kubernetes/controller-manager; then
    launch kubernetes/controller-manager "$(kubernetes_program kube-controller-manager)" \
      --kubeconfig "$folder/controller-manager/kubeconfig" --leader-elect=false --secure-port 0 \
      --use-service-account-credentials --service-account-private-key-file "$folder/accounts.key" \
      --root-ca-file "$folder/ca.pem"
  fi
  await kubernetes/controller-manager 60 kubectl_with "$folder/controller-manager/kubeconfig" get serviceaccount default
}

kubectl_with() {
  local kubeconfig=$1
  shift
  "$(kubernetes_program kubectl)" --kubeconfig "$kubeconfig" "$@"
}

kubeconfig() {
  local name=$1 folder=$rig/kubernetes
  cat <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: rig
    cluster:
      server: $kubernetes_url
      certificate-authority-data: $(base64 -w0 "$folder/ca.pem")
users:
  - name: $name
    user: {token: $(cat "$folder/$name.token")}
contexts:
  - name: $name
    context: {cluster: rig, user: $name}
current-context: $name
YAML
}

kubernetes_env() {
  cat <<ENV
TRUEUP_RIG_KUBERNETES=$rig/kubernetes/admin.kubeconfig
TRUEUP_RIG_KUBERNETES_STRANGER=$rig/kubernetes/stranger.kubeconfig
TRUEUP_RIG_KUBERNETES_URL=$kubernetes_url
TRUEUP_RIG_KUBERNETES_AUDIT=$data/kubernetes/audit.log
TRUEUP_RIG_KUBERNETES_KUBECTL=$(kubernetes_program kubectl)
TRUEUP_RIG_KUBERNETES_PIDFILE=$rig/kubernetes/pid
TRUEUP_RIG_KUBERNETES_RESTART="$here/rig.sh restart kubernetes"
ENV
}

restart_kubernetes() {
  [[ -e $rig/kubernetes/env ]] || fail "kubernetes was never up"
  stop_kubernetes
  start_kubernetes
}

stop_kubernetes() {
  stop kubernetes/controller-manager
  stop kubernetes
  stop kubernetes/etcd
}
