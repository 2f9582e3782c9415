# shellcheck shell=bash
# Sourced by the scripts of this folder: the cache of built things, and how progress is said.
#
# A cache entry is a folder named <label>-<key>, where the key is a digest of all that decides its content. It is built in a
# folder beside it and renamed when it is whole, so an entry that exists is complete. One lock per entry lets two checkouts
# share the work; what an interrupted build left behind is swept by the next one.
set -euo pipefail
shopt -s inherit_errexit
# What is built does not depend on, and is not hidden by, the umask of who builds it.
umask 022

# An ordinary user of Debian has no administration commands on the path.
export PATH=$PATH:/usr/sbin:/sbin

images_dir=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
cache=${SEEDBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/seedbed}
# The file that proves that a folder is this cache: hack/clean-cache removes no folder without it.
cache_marker=.seedbed-cache
# Elapsed times are counted from where the outermost script began (seconds since the epoch).
export SEEDBED_STARTED=${SEEDBED_STARTED:-$EPOCHSECONDS}

# progress TEXT: one line on stderr with the elapsed time.
progress() { printf '%5d s  %s\n' $((EPOCHSECONDS - SEEDBED_STARTED)) "$*" >&2; }

# fail TEXT: ends the script with a message that says where it comes from.
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# pinned KEY: its value in versions.env.
pinned() {
  local value
  value=$(sed -n "s/^$1=//p" "$images_dir/versions.env")
  if [ -z "$value" ]; then fail "versions.env has no $1"; fi
  printf '%s\n' "$value"
}

# require_commands COMMAND...: fails with what to do where one is missing.
require_commands() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || fail "the command $command is missing: run hack/install (Go comes from its own distribution)"
  done
}

# require_version VERSION: fails unless it reads like v1.35.4.
require_version() {
  [[ $1 =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "'$1' is not a version: it has to look like v1.35.4"
}

# as_root COMMAND...: runs it as root, through sudo where this is not root.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "this step needs root, and there is no sudo: run it as root"
    sudo -- "$@"
  fi
}

# digest_of FILE: its SHA-256 in hex.
digest_of() {
  local sum
  sum=$(sha256sum "$1")
  printf '%s\n' "${sum%% *}"
}

# image_tag LIST NAME: the tag of the container image of that name in an images.txt.
image_tag() {
  local tag
  tag=$(sed -n "s|^[^ ]*/$2:\([^ ]*\) .*|\1|p" "$1")
  if [ -z "$tag" ]; then fail "$1 names no $2 image"; fi
  printf '%s\n' "$tag"
}

# deterministic_tar OUT FOLDER: the tar of FOLDER's content that depends on nothing else.
deterministic_tar() {
  tar --create --file "$1" --directory "$2" --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX .
}

# open_cache: makes the cache folder, refusing one that holds something else.
open_cache() {
  require_commands flock
  if [ ! -e "$cache/$cache_marker" ]; then
    mkdir -p "$cache"
    if [ -n "$(ls -A "$cache")" ] && [ ! -e "$cache/$cache_marker" ]; then
      fail "$cache is not empty and not a Seedbed cache (no $cache_marker in it): set SEEDBED_CACHE to another folder"
    fi
    : >"$cache/$cache_marker"
  fi
  mkdir -p "$cache/locks" "$cache/unfinished"
}

# remove_tree FOLDER: removes it, with root's help for what root made in it.
remove_tree() { rm -rf --one-file-system "$1" 2>/dev/null || as_root rm -rf --one-file-system "$1"; }

# sweep_unfinished: removes what interrupted builds left: folders whose lock nobody holds.
sweep_unfinished() {
  local left name
  for left in "$cache"/unfinished/*; do
    [ -e "$left" ] || continue
    name=${left##*/}
    (
      exec {lock}>"$cache/locks/${name%.*}"
      if flock --nonblock "$lock"; then remove_tree "$left"; fi
    )
  done
}

# cached LABEL INPUTS BUILDER [ARG...]: prints the path of the entry that INPUTS (a text: all that decides the content) name.
# Where it is missing, `BUILDER ENTRY SCRATCH ARG...` fills the folder ENTRY; SCRATCH is for its temporary files, and the
# variable `final` says where ENTRY will be.
cached() {
  local label=$1 inputs=$2 key entry
  shift 2
  key=$(printf '%s\n' "$inputs" | sha256sum | cut -c1-16)
  entry=$cache/$label-$key
  if [ ! -d "$entry" ]; then
    open_cache
    build_entry "$label-$key" "$@" >&2
  fi
  printf '%s\n' "$entry"
}

# build_entry NAME BUILDER [ARG...]: the slow half of `cached`, in a shell of its own so that the locks end with it.
build_entry() (
  entry_name=$1
  builder=$2
  final=$cache/$entry_name
  shift 2
  # Shared with other builds; hack/clean-cache takes it alone.
  exec {users}<"$cache/$cache_marker"
  flock --shared "$users"
  sweep_unfinished
  exec {lock}>"$cache/locks/$entry_name"
  if ! flock --nonblock "$lock"; then
    progress "$entry_name: waiting for the process that builds it now"
    flock "$lock"
  fi
  if [ -d "$final" ]; then exit 0; fi
  entry_work=$(mktemp -d "$cache/unfinished/$entry_name.XXXXXX")
  trap 'remove_tree "$entry_work"; [ -d "$final" ] || printf "%s was not built\n" "$entry_name" >&2' EXIT
  chmod 755 "$entry_work"
  mkdir "$entry_work/entry" "$entry_work/scratch"
  "$builder" "$entry_work/entry" "$entry_work/scratch" "$@"
  # The name must not reach the disk before the content does.
  sync --file-system "$entry_work/entry"
  mv -T "$entry_work/entry" "$final"
)
