# What etcd is restored to is made ready beside what runs, of which nothing is touched.
data=/var/lib/etcd
prepare() {
  local saved=$home/saved manifests=$home/saved/kubernetes/manifests part=$data/seedbed-restored.part file name expected found images image
  [ -e "$saved" ] || fail "there is no snapshot in $saved to restore; nothing was touched"
  echo 'seedbed: phase snapshot'
  for file in etcd.db etcdutl kubernetes/manifests/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler}.yaml; do
    [ -s "$saved/$file" ] || fail "$saved/$file is not there, or empty: the snapshot cannot be restored; nothing was touched"
  done
  # The last 32 bytes of a snapshot are the digest of those before them.
  expected=$(tail -c 32 "$saved/etcd.db" | od -An -v -tx1 | tr -d ' \n')
  found=$(head -c -32 "$saved/etcd.db" | sha256sum | cut -d ' ' -f 1)
  [ "$found" = "$expected" ] || fail "the snapshot $saved/etcd.db is damaged: found SHA-256 $found, expected $expected; nothing was touched"
  images=$(ctr --namespace k8s.io images ls -q)
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    image=$(sed -n 's/^ *image: //p' "$manifests/$name.yaml")
    grep -qFx -e "$image" <<<"$images" || fail "the container image $image of $name is not in this guest any more: import it; nothing was touched"
  done
  if [ -e "$data/seedbed-restored" ]; then return; fi
  echo 'seedbed: phase etcd'
  rm -rf -- "$part"
  flag() { sed -n "s/^ *- --$1=//p" "$manifests/etcd.yaml"; }
  # What watches goes on from a revision that it knew: none may be given out again.
  "$saved/etcdutl" snapshot restore "$saved/etcd.db" --data-dir "$part" --bump-revision 1000000000 --mark-compacted --name "$(flag name)" \
    --initial-cluster "$(flag initial-cluster)" --initial-advertise-peer-urls "$(flag initial-advertise-peer-urls)" ||
    { rm -rf -- "$part"; fail "etcdutl did not restore the snapshot; nothing was touched"; }
  sync
  mv -- "$part" "$data/seedbed-restored"
}
if [ ! -e "$home/restored" ] && [ ! -e "$data/seedbed-before" ]; then prepare; fi
