# etcd as it was when the snapshot was taken, and the control plane of then. What was written since is lost; the data of now are kept
# beside it until the upgrade is undone.
mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
components='kube-scheduler kube-controller-manager kube-apiserver etcd'
is_stopped() {
  local name found
  for name in $components; do
    found=$(running "$name") || return 1
    if [ -n "$found" ]; then return 1; fi
  done
}
# Once it is restored, what is written is not thrown away again.
if [ ! -e "$home/restored" ]; then
  echo 'seedbed: phase stop'
  hasten
  mkdir -p "$home/stopped" "$data/seedbed-before"
  for name in $components; do
    if [ -e "/etc/kubernetes/manifests/$name.yaml" ]; then mv -- "/etc/kubernetes/manifests/$name.yaml" "$home/stopped/"; fi
  done
  again 300 is_stopped
  echo 'seedbed: phase restore'
  if [ -e "$data/seedbed-restored/member" ]; then
    if [ -e "$data/member" ]; then mv -T -- "$data/member" "$data/seedbed-before/member"; fi
    mv -T -- "$data/seedbed-restored/member" "$data/member"
  fi
  sync
  touch "$home/restored"
  sync
fi
[ -e "$home/saved" ] || fail "there is no $home/saved to restore from"
echo 'seedbed: phase manifests'
for file in admin super-admin kubelet controller-manager scheduler; do
  if [ -e "$home/saved/kubernetes/$file.conf" ]; then put "$home/saved/kubernetes" "$file.conf"; fi
done
put "$home/saved/kubernetes" manifests/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler}.yaml
