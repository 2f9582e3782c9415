# What the kubelets share, and kube-proxy and CoreDNS.
echo 'seedbed: phase upload-config'
again 300 kubeadm upgrade apply phase upload-config kubelet --config "$work/upgrade.yaml"
exists() { kubectl --namespace kube-system get "$1" --request-timeout 20s >/dev/null 2>&1; }
# kubeadm notes an add-on as disabled where it was installed by a run of its own, and would leave it as it is. One that is there is not.
enable_addons() {
  local document enable=()
  if exists deployment/coredns; then enable+=(-e '/^    dns:/,/^    [a-z]/s/disabled: true/disabled: false/'); fi
  if exists daemonset/kube-proxy; then enable+=(-e '/^    proxy:/,/^    [a-z]/s/disabled: true/disabled: false/'); fi
  if [ ${#enable[@]} -eq 0 ]; then return; fi
  document=$(kubectl --namespace kube-system get configmap kubeadm-config --request-timeout 20s -o yaml) || return 1
  sed "${enable[@]}" <<<"$document" | kubectl --request-timeout 30s replace -f -
}
echo 'seedbed: phase configuration'
again 300 enable_addons
echo 'seedbed: phase addon'
again 300 kubeadm upgrade apply phase addon all --config "$work/upgrade.yaml"
if exists daemonset/kube-proxy; then
  image=$(kubectl --namespace kube-system get daemonset kube-proxy -o jsonpath='{.spec.template.spec.containers[0].image}')
  [ "${image##*:}" = "$to" ] || fail "kubeadm left kube-proxy at $image, expected $to"
  kubectl --namespace kube-system rollout status daemonset kube-proxy --timeout 900s
fi
