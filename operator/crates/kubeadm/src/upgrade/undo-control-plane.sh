# The manifests of before, and kubeadm's configuration.
mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
saved=$home/saved
[ -e "$saved" ] || fail "there is no $saved to restore from"
echo 'seedbed: phase manifests'
for manifest in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  from_file=$saved/kubernetes/manifests/$manifest.yaml to_file=/etc/kubernetes/manifests/$manifest.yaml
  if cmp -s "$from_file" "$to_file"; then continue; fi
  # The kubelet reads every file of its folder: it gets a whole one.
  cp -a -- "$from_file" /etc/kubernetes/seedbed-manifest.part
  mv -- /etc/kubernetes/seedbed-manifest.part "$to_file"
done
rm -rf -- /etc/kubernetes/tmp/kubeadm-*
echo 'seedbed: phase api-server'
again 900 serves "$from"
echo 'seedbed: phase settle'
settle
echo 'seedbed: phase configuration'
again 300 kubectl --request-timeout 30s replace -f "$saved/kubeadm-config.yaml"
