mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
rm -rf -- "$home" /var/lib/etcd/seedbed-{snapshot.db,snapshot.db.part,restored,restored.part,before}
# The next upgrade is begun only where all of the control plane is Ready, which takes its last processes a while. That they do not become it
# is no failure of what is undone here.
kubectl --namespace kube-system wait pod/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler}-"$(hostname)" --for condition=Ready --timeout 2m || true
