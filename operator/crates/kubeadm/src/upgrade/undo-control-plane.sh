# The manifests of before, and kubeadm's configuration.
mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
saved=$home/saved
[ -e "$saved" ] || fail "there is no $saved to restore from"
echo 'seedbed: phase manifests'
# The others are not to be newer than the API server (https://kubernetes.io/releases/version-skew-policy/), and would only take from it
# what it needs for its start.
for name in kube-controller-manager kube-scheduler; do
  if ! cmp -s {"$saved/kubernetes",/etc/kubernetes}"/manifests/$name.yaml"; then rm -f -- "/etc/kubernetes/manifests/$name.yaml"; fi
done
put_back manifests/etcd.yaml
told=tell
if ! cmp -s {"$saved/kubernetes",/etc/kubernetes}/manifests/kube-apiserver.yaml; then
  hasten
  rm -f -- /etc/kubernetes/manifests/kube-apiserver.yaml
  # A kubelet that finds the next one before it has done with the last looks again ten seconds later. What it has of a pod goes at the end.
  for _ in $(seq 60); do
    if ! compgen -G '/var/lib/kubelet/pods/*/containers/kube-apiserver' >/dev/null; then break; fi
    sleep 1
  done
  sleep 1
  put_back manifests/kube-apiserver.yaml
  told=settle
fi
rm -rf -- /etc/kubernetes/tmp/kubeadm-*
echo 'seedbed: phase api-server'
again 900 serves "$from"
if [ "$told" = settle ]; then restart_kubelet; fi
put_back manifests/{kube-controller-manager,kube-scheduler}.yaml
echo 'seedbed: phase settle'
"$told"
echo 'seedbed: phase configuration'
again 300 kubectl --request-timeout 30s replace -f "$saved/kubeadm-config.yaml"
