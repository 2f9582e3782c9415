mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
rm -rf -- "$home" /var/lib/etcd/seedbed-snapshot.db /var/lib/etcd/seedbed-snapshot.db.part
