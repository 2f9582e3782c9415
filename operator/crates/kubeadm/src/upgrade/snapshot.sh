# What the control plane is restored from: a verified snapshot of etcd, kubeadm's folder, and kubeadm's ConfigMap.
forget_others
if [ -e "$home/saved" ]; then exit 0; fi
part=$home/saved.part
rm -rf -- "$part"
mkdir -p "$home" "$part"
echo 'seedbed: phase etcd'
running=$(ctr --namespace k8s.io tasks ls | awk '$3 == "RUNNING" { print $1 }')
container=$(ctr --namespace k8s.io containers ls -q 'labels."io.kubernetes.container.name"==etcd' | grep -Fx -m 1 -e "$running") || fail "no container of etcd runs"
in_etcd() { ctr --namespace k8s.io tasks exec --exec-id "seedbed-$RANDOM$RANDOM" "$container" "$@"; }
pki=/etc/kubernetes/pki/etcd
snapshot=/var/lib/etcd/seedbed-snapshot.db
rm -f -- "$snapshot" "$snapshot.part"
in_etcd etcdctl --endpoints https://127.0.0.1:2379 --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
  --command-timeout 300s snapshot save $snapshot
in_etcd etcdutl snapshot status $snapshot
mv -- "$snapshot" "$part/etcd.db"
echo 'seedbed: phase files'
cp -a /etc/kubernetes "$part/kubernetes"
# As it is replaced by: without what only the present object has.
again 300 kubectl --namespace kube-system get configmap kubeadm-config --request-timeout 20s -o yaml >"$part/kubeadm-config.full"
grep -vE '^  (resourceVersion|uid|creationTimestamp):' "$part/kubeadm-config.full" >"$part/kubeadm-config.yaml"
rm -- "$part/kubeadm-config.full"
sync
mv -- "$part" "$home/saved"
