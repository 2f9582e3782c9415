# The kubelet's configuration and program, and kubeadm and kubectl with it. What there was before is kept.
if [ -e "$home/bin/kubelet" ]; then
  if [ ! -e "$home/before" ]; then
    rm -rf -- "$home/before.part"
    mkdir "$home/before.part"
    cp -a /usr/bin/{kubeadm,kubectl,kubelet} "$home/before.part/"
    for file in config.yaml instance-config.yaml kubeadm-flags.env; do
      if [ -e "/var/lib/kubelet/$file" ]; then cp -a "/var/lib/kubelet/$file" "$home/before.part/"; fi
    done
    sync
    mv -- "$home/before.part" "$home/before"
  fi
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
  rm -rf -- "${home:?}/bin"
fi
[ "$(kubelet --version)" = "Kubernetes $to" ] || fail "found $(kubelet --version), expected Kubernetes $to: what Preload had put into $home/bin is gone"
