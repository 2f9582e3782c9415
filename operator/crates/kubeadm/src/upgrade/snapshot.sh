# What the control plane is restored from: a verified snapshot of etcd with the program that restores it, kubeadm's folder, and kubeadm's
# ConfigMap.
forget_others
# The host keeps the disk when this has ended: what is not written to it by then is not kept.
if [ -e "$home/saved" ]; then
  sync
  exit 0
fi
part=$home/saved.part
rm -rf -- "$part"
mkdir -p "$home" "$part"
echo 'seedbed: phase etcd'
container=$(running etcd | head -n 1)
[ -n "$container" ] || fail "no container of etcd runs"
in_etcd() { ctr --namespace k8s.io tasks exec --exec-id "seedbed-$RANDOM$RANDOM" "$container" "$@"; }
pki=/etc/kubernetes/pki/etcd
snapshot=/var/lib/etcd/seedbed-snapshot.db
rm -rf -- "$snapshot" "$snapshot.part" /var/lib/etcd/seedbed-restored /var/lib/etcd/seedbed-restored.part /var/lib/etcd/seedbed-before
in_etcd etcdctl --endpoints https://127.0.0.1:2379 --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
  --command-timeout 300s snapshot save $snapshot
in_etcd etcdutl snapshot status $snapshot
mv -- "$snapshot" "$part/etcd.db"
# That of the etcd that took it: another one need not be able to write what this one reads.
pid=$(ctr --namespace k8s.io tasks ls | awk -v id="$container" '$1 == id { print $2 }')
cp -- "/proc/$pid/root/usr/local/bin/etcdutl" "$part/etcdutl"
echo 'seedbed: phase files'
cp -a /etc/kubernetes "$part/kubernetes"
# As it is replaced by: without what only the present object has.
again 300 kubectl --namespace kube-system get configmap kubeadm-config --request-timeout 20s -o yaml >"$part/kubeadm-config.full"
grep -vE '^  (resourceVersion|uid|creationTimestamp):' "$part/kubeadm-config.full" >"$part/kubeadm-config.yaml"
rm -- "$part/kubeadm-config.full"
sync
mv -- "$part" "$home/saved"
sync
