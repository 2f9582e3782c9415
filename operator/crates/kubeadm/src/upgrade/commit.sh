echo 'seedbed: phase upload-config'
again 300 "$kubeadm" upgrade apply phase upload-config kubeadm --config "$work/upgrade.yaml"
