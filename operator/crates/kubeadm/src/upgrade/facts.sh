# What a preflight looks at in a guest: a line for each thing that is there. Nothing is written.
export LC_ALL=C
awk '$1 == "MemAvailable:" { print "memory", $2 }' /proc/meminfo
# disk USE FOLDER
disk() {
  local size left mount
  { read -r _ && read -r size left mount && echo "disk $1 $size $left $mount"; } < <(df --block-size=1 --output=size,avail,target "$2")
}
disk images /var/lib/containerd
disk kept /var/lib/seedbed
disk backups /etc/kubernetes
[ -e /etc/kubernetes/manifests/kube-apiserver.yaml ] || exit 0
# Certificates are public; the keys that stand beside them in a kubeconfig stay there.
for file in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt; do
  [ -e "$file" ] && echo "certificate $file $(base64 --wrap=0 "$file")"
done
for file in /etc/kubernetes/{admin,super-admin,controller-manager,scheduler}.conf; do
  [ -e "$file" ] && sed -n "s|^ *client-certificate-data: *|certificate $file |p" "$file"
done
echo "etcd data $(du --summarize --block-size=1 /var/lib/etcd | cut -f1)"
# What etcd answers without being asked for a certificate: kubeadm has it listen there for probes.
get() { timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2381 && printf "GET %s HTTP/1.0\r\n\r\n" "$0" >&3 && cat <&3' "$1" | tr -d '\r' | sed '1,/^$/d'; }
# Its answer ends without a line break.
echo "etcd health $(get /health)"
get /metrics | sed -nE 's/^(etcd_server_quota_backend_bytes|etcd_mvcc_db_total_size_in_bytes) /etcd metric \1 /p'
exit 0
