# The kubelet's configuration and program, and kubeadm and kubectl with it.
if [ -e "$home/bin/kubelet" ]; then
  echo 'seedbed: phase kubelet-config'
  if [ -e /etc/kubernetes/admin.conf ]; then
    again 300 "$home/bin/kubeadm" upgrade apply phase kubelet-config --config "$work/upgrade.yaml"
  else
    again 300 "$home/bin/kubeadm" upgrade node phase kubelet-config --config "$work/upgrade.yaml" --kubeconfig "$KUBECONFIG"
  fi
  echo 'seedbed: phase kubelet'
  install -m 755 "$home"/bin/{kubeadm,kubectl,kubelet} /usr/bin/
  sync
  systemctl daemon-reload
  systemctl restart kubelet
  rm -rf -- "${home:?}/bin" "$home/imported"
  rmdir --ignore-fail-on-non-empty "$home"
fi
[ "$(kubelet --version)" = "Kubernetes $to" ] || fail "found $(kubelet --version), expected Kubernetes $to: what Preload had put into $home/bin is gone"
