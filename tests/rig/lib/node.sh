# shellcheck shell=bash disable=SC2154
# One node for the Kubernetes of the rig, so that pods really run: containerd and runc, scheduler, kube-proxy, kubelet.
# The node and its pods are on one bridge in the host's namespace. The part's own process is the kubelet; the others have
# a folder each in the part's.

node_bridge=trgpods
node_address=10.204.0.1
node_pods=10.204.0.0/24
node_settings=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops net.ipv4.ip_forward)
# Where kubelet, containerd and the network plugins write whatever they are told.
node_folders=(/var/lib/kubelet /var/lib/cni /var/log/containers /run/containerd/runc/k8s.io)

start_node() {
  needs_root
  needs iptables ip nft busybox openssl
  if is_missing kubernetes; then fail "its Kubernetes is missing: $(cat "$rig/kubernetes/missing")"; fi
  "$here/build.sh" docker node
  mkdir -p "$rig"/node/{containerd,scheduler,proxy}
  prepare_host_for_node
  start_containerd
  (
    umask 077
    kubeconfig scheduler >"$rig/node/scheduler/kubeconfig"
    kubeconfig proxy >"$rig/node/proxy/kubeconfig"
    kubeconfig node >"$rig/node/kubeconfig"
  )
  start_scheduler
  start_proxy
  start_kubelet
  cat >"$rig/node/env" <<ENV
TRUEUP_RIG_NODE=$node_address
TRUEUP_RIG_NODE_PIDFILE=$rig/node/pid
ENV
}

node_program() {
  echo "$(programs_of node)/$1"
}

# The kubelet changes settings of the kernel; `down` puts them back. Beside a Docker engine, packets that nobody accepts
# are dropped.
prepare_host_for_node() {
  local direction folder group before=$rig/node/host-before
  if [[ ! -e $before ]]; then
    for folder in "${node_folders[@]}"; do [[ -e $folder ]] || echo "$folder"; done >"$before.no-folders"
    sysctl -e "${node_settings[@]}" >"$before"
  fi
  if ! ip link show "$node_bridge" &>/dev/null; then
    ip link add "$node_bridge" type bridge
    ip address add "$node_address/24" dev "$node_bridge"
    ip link set "$node_bridge" up
  fi
  for direction in -i -o; do
    iptables -C FORWARD "$direction" "$node_bridge" -j ACCEPT 2>/dev/null ||
      iptables -I FORWARD "$direction" "$node_bridge" -j ACCEPT
  done
  for group in $(control_groups); do mkdir -p "$group/trueup-rig/node"; done
}

# The roots of the control groups: one, or one a controller.
control_groups() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then echo /sys/fs/cgroup; else dirname /sys/fs/cgroup/*/cgroup.procs; fi
}

# --- containerd -----------------------------------------------------------------------------------------------------

start_containerd() {
  local folder=$rig/node/containerd programs
  programs=$(programs_of docker)
  if ! alive node/containerd; then
    containerd_config >"$folder/config.toml"
    mkdir -p "$folder/networks"
    pod_network >"$folder/networks/pods.conflist"
    PATH=$programs:$PATH launch node/containerd "$programs/containerd" --config "$folder/config.toml"
    await node/containerd 30 ctr version
  fi
  load_node_images
}

containerd_config() {
  cat <<TOML
version = 3
root = "$data/node/containerd"
state = "$rig/node/exec/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
address = "$rig/node/exec/containerd.sock"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "docker.io/trueup-test/pause:1"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["$(programs_of node)"]
conf_dir = "$rig/node/containerd/networks"
TOML
}

pod_network() {
  cat <<JSON
{"cniVersion": "1.0.0", "name": "trueup-rig", "plugins": [
  {"type": "bridge", "bridge": "$node_bridge", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$data/node/addresses",
            "ranges": [[{"subnet": "$node_pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

ctr() {
  "$(node_program ctr)" --address "$rig/node/exec/containerd.sock" --namespace k8s.io "$@"
}

# The test images, and what holds a pod's namespaces open: the same busybox, asleep.
load_node_images() {
  local images=$rig/node/images
  if [[ $(ctr images ls -q) == *trueup-test/pause:1* ]]; then return; fi
  rm -rf "$images"
  make_images "$images"
  tar -C "$images" -c . | ctr images import - >/dev/null
  sed 's|"/bin/sh"|"/bin/sleep", "2147483647"|' "$images/1.json" >"$images/pause.json"
  cat >"$images/manifest.json" <<'JSON'
[{"Config": "pause.json", "RepoTags": ["trueup-test/pause:1"], "Layers": ["busybox.tar"]}]
JSON
  tar -C "$images" -c . | ctr images import - >/dev/null
  rm -rf "$images"
}

# --- Kubernetes' own ------------------------------------------------------------------------------------------------

start_scheduler() {
  if alive node/scheduler; then return; fi
  launch node/scheduler "$(node_program kube-scheduler)" --kubeconfig "$rig/node/scheduler/kubeconfig" \
    --leader-elect=false --secure-port 0
}

start_proxy() {
  if alive node/proxy; then return; fi
  cat >"$rig/node/proxy/config.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: rig
clusterCIDR: $node_pods
clientConnection: {kubeconfig: $rig/node/proxy/kubeconfig}
conntrack: {maxPerCore: 0, min: 0}
healthzBindAddress: $node_address:10256
metricsBindAddress: $node_address:10249
YAML
  launch node/proxy "$(node_program kube-proxy)" --config "$rig/node/proxy/config.yaml"
}

start_kubelet() {
  if ! alive node; then
    kubelet_config >"$rig/node/kubelet.yaml"
    launch node "$(node_program kubelet)" --config "$rig/node/kubelet.yaml" --kubeconfig "$rig/node/kubeconfig" \
      --root-dir "$data/node/kubelet" --cert-dir "$rig/node/certificates" \
      --hostname-override rig --node-ip "$node_address"
  fi
  await node 90 kubectl_with "$rig/kubernetes/admin.kubeconfig" wait --for=condition=Ready node/rig --timeout=1s
}

# Only the API server may ask the kubelet for something. That the disk is nearly full does not keep pods away.
kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
healthzPort: 0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: $rig/kubernetes/kubelet-client.pem}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://$rig/node/exec/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /trueup-rig/node
failCgroupV1: false
failSwapOn: false
podLogsDir: $data/node/logs
volumePluginDir: $data/node/plugins
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
YAML
}

# --- removal --------------------------------------------------------------------------------------------------------

remove_node() {
  stop node
  stop node/scheduler
  stop node/proxy
  stop node/containerd
  end_leftovers node
  unmount_all "$rig/node" "$data/node"
  if [[ -e $rig/node/host-before ]]; then restore_host_after_node "$rig/node/host-before"; fi
}

restore_host_after_node() {
  local direction
  "$(node_program kube-proxy)" --cleanup
  for direction in -i -o; do
    iptables -D FORWARD "$direction" "$node_bridge" -j ACCEPT 2>/dev/null || true
  done
  remove_published_ports
  if ip link show "$node_bridge" &>/dev/null; then ip link delete "$node_bridge"; fi
  xargs -r rm -rf <"$1.no-folders"
  sysctl -q -p "$1"
}

# Pods' ports are published in chains of their own. Step by step, as engines change the same table at the same time.
remove_published_ports() {
  local rules step
  rules=$(iptables -t nat -S)
  for step in 's/^-N CNI-/-F CNI-/p' '/^-A CNI-/!s/^-A \(.* -j CNI-\)/-D \1/p' 's/^-N CNI-/-X CNI-/p'; do
    sed -n "$step" <<<"$rules" | xargs -r -L 1 iptables -t nat
  done
}
