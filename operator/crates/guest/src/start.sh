# Puts a job into the guest and starts it as a unit of its own: sh -c START sh TOKEN ARCHIVE (- for standard input)
set -eu
umask 077
record=/var/lib/seedbed/jobs/$1
work=/run/seedbed/$1
unit=seedbed-$1.service
[ -d /var/lib/seedbed/jobs ] || mkdir -p /var/lib/seedbed/jobs
# Only one of two starts can make the folder, whenever they come.
if ! mkdir "$record" 2>/dev/null; then
  if [ -d "$record" ]; then
    [ "$2" = - ] || rm -f "$2"
    exit 75
  fi
  echo "cannot make $record" >&2
  exit 1
fi
# Until the unit is there, nothing may be left that says it was.
trap 'rm -rf "$record" "$work" "$work.tar"' EXIT
: >"$record/log"
tar --extract --file="$2" --directory=/ --touch --no-overwrite-dir --keep-directory-symlink
[ "$2" = - ] || rm "$2"
if ! systemd-run --quiet --unit="$unit" --description="Seedbed job $1" --setenv=HOME=/root \
  --property=RemainAfterExit=yes --property=StandardOutput="append:$record/log" --property=StandardError=inherit \
  /bin/bash "$work/run.sh" "$1"; then
  if [ "$(systemctl show --property=LoadState --value "$unit")" = loaded ]; then
    trap - EXIT
    exit 75
  fi
  exit 1
fi
trap - EXIT
