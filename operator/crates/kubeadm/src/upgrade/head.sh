set -euo pipefail
umask 077
home=/var/lib/seedbed/upgrades/$upgrade
fail() { echo "seedbed: $*" >&2; exit 1; }
# What an earlier attempt left running is not waited for.
for unit in $stop; do systemctl stop "seedbed-$unit.service" 2>/dev/null || true; done
if [ -e /etc/kubernetes/admin.conf ]; then
  export KUBECONFIG=/etc/kubernetes/admin.conf
else
  export KUBECONFIG=/etc/kubernetes/kubelet.conf
fi
# A job that was asked for before the upgrade was undone and comes too late does nothing any more.
if [ "$undo" = no ] && [ -e "$home.undone" ]; then fail "the upgrade is being undone"; fi
mkdir -p /etc/seedbed/kubeadm-patches
# again SECONDS COMMAND...: until it succeeds. An API server that has just been restarted, or is busy, refuses now and then.
again() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || fail "$1 $2 did not succeed in time; what it wrote last is above"
    sleep 3
  done
}
# What other upgrades left: one folder is kept, that of the last one.
forget_others() {
  local other
  for other in /var/lib/seedbed/upgrades/*; do
    case $other in "$home" | "$home".*) ;; *) rm -rf -- "$other" ;; esac
  done
}
# running NAME: ids of the control plane's containers of that name that run.
running() {
  local tasks containers
  tasks=$(ctr --namespace k8s.io tasks ls | awk '$3 == "RUNNING" { print $1 }') || return 1
  containers=$(ctr --namespace k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$1,labels.\"io.kubernetes.pod.namespace\"==kube-system") || return 1
  grep -Fx -e "$tasks" <<<"$containers" || true
}
# put_back FILE...: files of /etc/kubernetes as they were. The kubelet reads every file of its folder: it gets whole ones.
put_back() {
  local file
  for file in "$@"; do
    if cmp -s "$home/saved/kubernetes/$file" "/etc/kubernetes/$file"; then continue; fi
    cp -a -- "$home/saved/kubernetes/$file" /etc/kubernetes/seedbed.part
    mv -- /etc/kubernetes/seedbed.part "/etc/kubernetes/$file"
  done
}
# Whether the API server knows the control plane's pods as their files are: kubeadm takes what it says for what runs.
mirrored() {
  local fields='{.spec.containers[0].image}{.spec.containers[0].command}{"\n"}' name files=() pods=() wanted found
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    files+=(-f "/etc/kubernetes/manifests/$name.yaml")
    pods+=("$name-$(hostname)")
  done
  wanted=$(kubectl create --dry-run=client "${files[@]}" -o jsonpath="$fields") || return 1
  found=$(kubectl --namespace kube-system get pods "${pods[@]}" --request-timeout 20s -o jsonpath="{range .items[*]}$fields{end}") || return 1
  [ "$wanted" = "$found" ]
}
# A kubelet that could not tell it at once, because there was no API server, tries again after minutes; one that has just been started
# does so at once.
tell() {
  if mirrored; then return; fi
  echo "seedbed: the kubelet is restarted, so that it tells the API server what runs" >&2
  systemctl restart kubelet
  again 900 mirrored
}
settle() {
  local try
  for try in 1 2 3 4 5 6; do
    if mirrored; then return; fi
    sleep 5
  done
  tell
}
serves() { kubectl get --raw=/version --request-timeout 20s | tr -d ' \n' | grep -q "\"gitVersion\":\"$1\"" && kubectl get --raw=/readyz --request-timeout 20s >/dev/null; }
