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
  upgrade_phase() {
    echo "seedbed: phase $1"
    if [ -e /etc/kubernetes/admin.conf ]; then
      again 300 "$home/bin/kubeadm" upgrade apply phase "$1" --config "$work/upgrade.yaml"
    else
      again 300 "$home/bin/kubeadm" upgrade node phase "$1" --config "$work/upgrade.yaml" --kubeconfig "$KUBECONFIG"
    fi
  }
  upgrade_phase kubelet-config
  # Takes the flags away that went with this minor version.
  upgrade_phase post-upgrade
  # kubeadm's copies of what is in "before".
  rm -rf -- /etc/kubernetes/tmp/kubeadm-kubelet-*
  flags=/var/lib/kubelet/kubeadm-flags.env
  takes() { "$home/bin/kubelet" "$@" --version >/dev/null; }
  # kubeadm of one minor version does not know of what went with the one before, which a kubelet may have skipped. Kubernetes 1.35
  # has this one no more (https://github.com/kubernetes/kubeadm/issues/3108).
  if ! takes --pod-infra-container-image=none 2>/dev/null; then sed -i 's/--pod-infra-container-image=[^" ]* \?//' "$flags"; fi
  read -ra arguments < <(sed -n 's/^KUBELET_KUBEADM_ARGS="\(.*\)"$/\1/p' "$flags")
  takes "${arguments[@]}" || fail "kubelet $to does not take the flags in $flags: mend what is named above; until then the old one stays"
  echo 'seedbed: phase kubelet'
  install -m 755 "$home"/bin/{kubeadm,kubectl,kubelet} /usr/bin/
  sync
  systemctl daemon-reload
  # Static pods are other ones to a kubelet of another minor version: it ends those of the control plane, and makes them anew. Those that
  # could do nothing before the API server answers, and would be tried again ever later, wait for it.
  if [ -e /etc/kubernetes/admin.conf ] && [ "${from%.*}" != "${to%.*}" ]; then
    before=$(running kube-apiserver)
    is_anew() { local now && now=$(running kube-apiserver) && [ -n "$now" ] && [ "$now" != "$before" ]; }
    hasten
    mkdir -p "$home/next/manifests"
    for name in kube-controller-manager kube-scheduler; do
      if [ -e "/etc/kubernetes/manifests/$name.yaml" ]; then mv -- "/etc/kubernetes/manifests/$name.yaml" "$home/next/manifests/"; fi
    done
    systemctl restart kubelet
    for _ in $(seq 40); do
      if is_anew; then break; fi
      sleep 3
    done
    complete "$home/next" "$to"
    both_run() { [ -n "$(running kube-controller-manager)" ] && [ -n "$(running kube-scheduler)" ]; }
    again 300 both_run
    # Or the pods of the nodes that are drained next would wait for others in their place.
    release kube-controller-manager
    release kube-scheduler
  else
    systemctl restart kubelet
  fi
  rm -rf -- "${home:?}"/{next,bin}
fi
[ "$(kubelet --version)" = "Kubernetes $to" ] || fail "found $(kubelet --version), expected Kubernetes $to: what Preload had put into $home/bin is gone"
