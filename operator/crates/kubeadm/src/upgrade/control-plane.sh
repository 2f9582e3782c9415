# kube-apiserver, kube-controller-manager and kube-scheduler as kubeadm's configuration in the cluster wants them; etcd where the
# document says so.
[ -e "$home/saved" ] || fail "there is no snapshot to go back to in $home/saved"
kubeadm=$home/bin/kubeadm
[ -x "$kubeadm" ] || kubeadm=/usr/bin/kubeadm
replace_configuration() {
  kubectl --namespace kube-system create configmap kubeadm-config --from-file="ClusterConfiguration=$work/cluster-configuration.yaml" --dry-run=client -o yaml |
    kubectl --request-timeout 30s replace -f -
}
next=$home/next
# What the phase would write, by which it is known beforehand. Nothing is done where kubeadm says it in another way than it does now.
render() {
  local name
  rm -rf -- "$next.part"
  mkdir -p "$next.part/manifests"
  KUBEADM_UPGRADE_DRYRUN_DIR=$work/dry-run "$kubeadm" upgrade apply phase control-plane --config "$work/upgrade.yaml" --dry-run |
    awk -v folder="$next.part/manifests" '
      / Would write file "[^"]*" with content:$/ { file = $0; sub(/" with content:$/, "", file); sub(/.*\//, "", file); next }
      /^\[/ { file = "" }
      file { print >(folder "/" file) }'
  for name in kube-apiserver kube-controller-manager kube-scheduler; do [ -s "$next.part/manifests/$name.yaml" ] || return 0; done
  sync
  rm -rf -- "$next"
  mv -- "$next.part" "$next"
}
# Without it nothing can be asked, where an earlier attempt took it away and came no further.
if [ -e "$next" ] && [ ! -s /etc/kubernetes/manifests/kube-apiserver.yaml ]; then put "$next" manifests/kube-apiserver.yaml; fi
if [ -e "$work/cluster-configuration.yaml" ]; then
  echo 'seedbed: phase configuration'
  again 300 replace_configuration
  echo 'seedbed: phase manifests'
  render
fi
if [ -e "$next" ]; then
  replace_control_plane "$next" "$to"
else
  echo 'seedbed: phase settle'
  settle
fi
# It does what is not yet so, and has the last word. It waits until the kubelet has told the new API server of it.
echo 'seedbed: phase kubeadm'
hasten restart_kubelet
"$kubeadm" upgrade apply phase control-plane --config "$work/upgrade.yaml"
echo 'seedbed: phase api-server'
again 900 serves "$to"
rm -rf -- "$next" "$next.part"
