# kube-apiserver, kube-controller-manager and kube-scheduler as kubeadm's configuration in the cluster wants them; etcd where the
# document says so.
[ -e "$home/saved" ] || fail "there is no snapshot to go back to in $home/saved"
kubeadm=$home/bin/kubeadm
[ -x "$kubeadm" ] || kubeadm=/usr/bin/kubeadm
replace_configuration() {
  kubectl --namespace kube-system create configmap kubeadm-config --from-file="ClusterConfiguration=$work/cluster-configuration.yaml" --dry-run=client -o yaml |
    kubectl --request-timeout 30s replace -f -
}
if [ -e "$work/cluster-configuration.yaml" ]; then
  echo 'seedbed: phase configuration'
  again 300 replace_configuration
fi
echo 'seedbed: phase settle'
settle
echo 'seedbed: phase kubeadm'
# kubeadm waits until the kubelet has told the new API server of it.
hasten restart_kubelet
"$kubeadm" upgrade apply phase control-plane --config "$work/upgrade.yaml"
echo 'seedbed: phase api-server'
again 900 serves "$to"
