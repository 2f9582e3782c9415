mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
umount /run/seedbed/upgrade-disk 2>/dev/null || true
if [ -e "$home/imported" ]; then
  while read -r reference; do ctr --namespace k8s.io images rm "$reference" || true; done <"$home/imported"
fi
rm -rf -- "${home:?}"/{bin,bin.part,before,before.part,imported}
if [ -d "$home" ]; then rmdir --ignore-fail-on-non-empty "$home"; fi
