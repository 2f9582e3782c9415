# The manifests of before, and kubeadm's configuration.
mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
saved=$home/saved
[ -e "$saved" ] || fail "there is no $saved to restore from"
echo 'seedbed: phase manifests'
put_back manifests/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler}.yaml
rm -rf -- /etc/kubernetes/tmp/kubeadm-*
echo 'seedbed: phase api-server'
again 900 serves "$from"
echo 'seedbed: phase settle'
settle
echo 'seedbed: phase configuration'
again 300 kubectl --request-timeout 30s replace -f "$saved/kubeadm-config.yaml"
