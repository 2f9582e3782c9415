# Runs one job inside its systemd unit: bash run.sh TOKEN
token=$1
record=/var/lib/seedbed/jobs/$token
work=/run/seedbed/$token
TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T\n' -1 >"$record/started"
/bin/bash "$work/job.sh"
code=$?
rm -rf "$work"
# The rename makes the result appear whole or not at all.
printf '%s\n' "$code" >"$record/result.part" && mv "$record/result.part" "$record/result"
exit "$code"
