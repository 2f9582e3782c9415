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
# listener: how the kernel tells of who listens where the API server is to; empty where that is not known.
listener() {
  local port
  port=$(sed -n 's/^ *- --secure-port=//p' /etc/kubernetes/manifests/kube-apiserver.yaml 2>/dev/null) || true
  [ -z "$port" ] || printf ':%04X [0-9A-F:]* 0A ' "$port"
}
listens() { grep -q -e "$1" /proc/net/tcp /proc/net/tcp6; }
# hasten [COMMAND...]: the API server that runs is ended five seconds after it has ceased to listen. Its clients are sent away by then, but
# those that watch: for them it stays until the kubelet kills it after half a minute, and nobody is served meanwhile. The command is run
# once the next one answers.
hasten() {
  local address old heard=0 closed=0
  address=$(listener)
  [ -n "$address" ] || return 0
  old=$(running kube-apiserver)
  # What comes next may end it before the one that waits has begun to.
  if listens "$address"; then heard=1; fi
  (
    until ((heard)) || listens "$address"; do
      kill -0 "$$" || exit
      sleep 1
    done
    while ((closed < 5)); do
      kill -0 "$$" || exit
      if listens "$address"; then closed=0; else ((++closed)); fi
      sleep 1
    done
    for container in $old; do ctr --namespace k8s.io tasks kill --signal SIGKILL "$container" || true; done
    if [ "$#" -gt 0 ]; then
      until listens "$address" && kubectl get --raw=/readyz --request-timeout 20s; do
        kill -0 "$$" || exit
        sleep 2
      done
      "$@"
    fi
  ) >/dev/null 2>&1 &
}
# release NAME: gives the lease of that name back for a process of this node that is no more and could not do so itself. Until it has run
# out nobody else takes it, and neither pods nor nodes are looked after.
release() {
  local container pid now up started held holder renewed version
  container=$(running "$1" | head -n 1)
  pid=$(ctr --namespace k8s.io tasks ls | awk -v id="$container" '$1 == id { print $2 }')
  now=$(date +%s)
  read -r up _ </proc/uptime
  started=$(awk -v hz="$(getconf CLK_TCK)" -v now="$now" -v up="$up" '{ print int(now - up + $22 / hz) }' "/proc/$pid/stat" 2>/dev/null) || started=$now
  held=$(kubectl --namespace kube-system get lease "$1" --request-timeout 20s \
    -o jsonpath='{.spec.holderIdentity} {.spec.renewTime} {.metadata.resourceVersion}') || return 0
  read -r holder renewed version <<<"$held"
  if [ "${holder%_*}" != "$(hostname)" ] || (($(date -d "$renewed" +%s) >= started)); then return 0; fi
  echo "seedbed: the lease $1 of $holder, which is no more, is given back" >&2
  # Refused if somebody has taken it meanwhile.
  kubectl --namespace kube-system patch lease "$1" --request-timeout 20s --type json --patch "[
    {\"op\": \"test\", \"path\": \"/metadata/resourceVersion\", \"value\": \"$version\"}, {\"op\": \"remove\", \"path\": \"/spec/holderIdentity\"}]" || true
}
# put FOLDER FILE...: files of /etc/kubernetes as they are in that folder. The kubelet reads every file of its folder: it gets whole ones.
put() {
  local folder=$1 file
  shift
  for file in "$@"; do
    if cmp -s "$folder/$file" "/etc/kubernetes/$file"; then continue; fi
    cp -a -- "$folder/$file" /etc/kubernetes/seedbed.part
    sync -- /etc/kubernetes/seedbed.part
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
# A kubelet that lost its API server asks for it again after up to a minute, and what it could not tell it tells after minutes; one that
# has just been started does both at once.
restart_kubelet() {
  echo "seedbed: the kubelet is restarted, so that it tells the API server what runs" >&2
  systemctl restart kubelet
}
settle() {
  for _ in $(seq 10); do
    if mirrored; then return; fi
    sleep 3
  done
  restart_kubelet
  again 900 mirrored
}
# is_of VERSION: whether the API server is of that version. It is asked once it listens: kubectl itself would take from its start.
is_of() { listens "$(listener)" && kubectl get --raw=/version --request-timeout 20s | tr -d ' \n' | grep -q "\"gitVersion\":\"$1\""; }
serves() { is_of "$1" && kubectl get --raw=/readyz --request-timeout 20s >/dev/null; }
answers_kubelet() { is_of "$1" && kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node "$(hostname)" --request-timeout 20s >/dev/null; }
# complete FOLDER VERSION: kube-controller-manager and kube-scheduler, as they are in that folder, beside an API server of that version that
# was started a moment ago; until it knows of all that runs. They are started, and the kubelet tells of them, while it becomes ready.
complete() {
  echo 'seedbed: phase api-server'
  again 900 answers_kubelet "$2"
  put "$1" manifests/{kube-controller-manager,kube-scheduler}.yaml
  restart_kubelet
  again 900 serves "$2"
  echo 'seedbed: phase settle'
  settle
}
# replace_control_plane FOLDER VERSION: kube-apiserver, kube-controller-manager and kube-scheduler as they are in that folder.
replace_control_plane() {
  local folder=$1 version=$2 name
  # The others are not to be newer than the API server (https://kubernetes.io/releases/version-skew-policy/), and would only take from it
  # what it needs for its start.
  for name in kube-controller-manager kube-scheduler; do
    if ! cmp -s {"$folder",/etc/kubernetes}"/manifests/$name.yaml"; then rm -f -- "/etc/kubernetes/manifests/$name.yaml"; fi
  done
  if ! cmp -s {"$folder",/etc/kubernetes}/manifests/kube-apiserver.yaml; then
    hasten
    rm -f -- /etc/kubernetes/manifests/kube-apiserver.yaml
    # A kubelet that finds the next one before it has done with the last looks again ten seconds later. What it has of a pod goes at the
    # end.
    for _ in $(seq 60); do
      if ! compgen -G '/var/lib/kubelet/pods/*/containers/kube-apiserver' >/dev/null; then break; fi
      sleep 1
    done
    sleep 1
    put "$folder" manifests/kube-apiserver.yaml
  fi
  complete "$folder" "$version"
}
