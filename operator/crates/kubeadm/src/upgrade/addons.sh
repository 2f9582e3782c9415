# What the kubelets share, and kube-proxy and CoreDNS.
echo 'seedbed: phase upload-config'
again 300 kubeadm upgrade apply phase upload-config kubelet --config "$work/upgrade.yaml"
echo 'seedbed: phase addon'
again 300 kubeadm upgrade apply phase addon all --config "$work/upgrade.yaml"
if kubectl --namespace kube-system get daemonset kube-proxy --request-timeout 20s >/dev/null 2>&1; then
  image=$(kubectl --namespace kube-system get daemonset kube-proxy -o jsonpath='{.spec.template.spec.containers[0].image}')
  [ "${image##*:}" = "$to" ] || fail "kubeadm left kube-proxy at $image, expected $to"
  kubectl --namespace kube-system rollout status daemonset kube-proxy --timeout 900s
fi
