# The manifests of before, and kubeadm's configuration.
mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
saved=$home/saved
[ -e "$saved" ] || fail "there is no $saved to restore from"
echo 'seedbed: phase manifests'
put "$saved/kubernetes" manifests/etcd.yaml
replace_control_plane "$saved/kubernetes" "$from"
rm -rf -- /etc/kubernetes/tmp/kubeadm-* "${home:?}"/next{,.part}
echo 'seedbed: phase configuration'
again 300 kubectl --request-timeout 30s replace -f "$saved/kubeadm-config.yaml"
