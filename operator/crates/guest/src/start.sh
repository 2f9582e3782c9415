# Puts a job into the guest and starts it as a unit of its own: sh -c START sh TOKEN ARCHIVE (- for standard input)
set -eu
umask 077
jobs=/var/lib/seedbed/jobs
record=$jobs/$1
work=/run/seedbed/$1
unit=seedbed-$1.service
boot=$(cat /proc/sys/kernel/random/boot_id)
[ -d "$jobs" ] || mkdir -p "$jobs"
# A record without a log is of a start that did not come to its end. Of another boot, it never will.
if [ -d "$record" ] && [ ! -e "$record/log" ] && [ "$(cat "$record/boot" 2>/dev/null)" != "$boot" ]; then
  rm -rf "$record"
fi
# Only one of two starts can put its folder there, whenever they come, and it says of which boot it is from the first moment.
mine=$(mktemp -d "$jobs/.start.XXXXXX")
printf '%s\n' "$boot" >"$mine/boot"
if ! mv -T "$mine" "$record" 2>/dev/null; then
  rm -rf "$mine"
  [ -d "$record" ] || { echo "cannot make $record" >&2; exit 1; }
  [ "$2" = - ] || rm -f "$2"
  exit 75
fi
# Until the unit is there, nothing may be left that says it was.
trap 'rm -rf "$record" "$work" "$work.tar"' EXIT
tar --extract --file="$2" --directory=/ --touch --no-overwrite-dir --keep-directory-symlink
[ "$2" = - ] || rm "$2"
# Not waited for: in a guest that still boots the unit is queued until the system is ready for it.
if ! systemd-run --quiet --no-block --unit="$unit" --description="Seedbed job $1" --setenv=HOME=/root \
  --property=RemainAfterExit=yes --property=StandardOutput="append:$record/log" --property=StandardError=inherit \
  /bin/bash "$work/run.sh" "$1"; then
  if [ "$(systemctl show --property=LoadState --value "$unit")" = loaded ]; then
    trap - EXIT
    exit 75
  fi
  exit 1
fi
trap - EXIT
: >>"$record/log"
