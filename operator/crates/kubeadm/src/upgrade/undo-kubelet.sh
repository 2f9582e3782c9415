# The kubelet of before, in place: its pods stay, and the API server is not asked, which may be what is broken.
mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
process() { systemctl show kubelet --property MainPID --value; }
# One that cannot read what the newer one left ends within seconds.
stays() {
  local before
  before=$(process)
  [ "$before" != 0 ] || return 1
  sleep 15
  [ "$(process)" = "$before" ]
}
if [ -e "$home/before" ]; then
  echo 'seedbed: phase kubelet'
  install -m 755 "$home"/before/{kubeadm,kubectl,kubelet} /usr/bin/
  for file in config.yaml instance-config.yaml kubeadm-flags.env; do
    if [ -e "$home/before/$file" ]; then cp -a -- "$home/before/$file" /var/lib/kubelet/; fi
  done
  sync
  systemctl daemon-reload
  systemctl restart kubelet
  again 300 stays
fi
[ "$(kubelet --version)" = "Kubernetes $from" ] || fail "found $(kubelet --version), expected Kubernetes $from: what was kept of it in $home/before is gone"
