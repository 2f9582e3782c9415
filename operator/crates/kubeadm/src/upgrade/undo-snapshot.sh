mkdir -p /var/lib/seedbed/upgrades
touch "$home.undone"
rm -rf -- "$home" /var/lib/etcd/seedbed-{snapshot.db,snapshot.db.part,restored,restored.part,before}
