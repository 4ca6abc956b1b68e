#!/bin/sh
# fetch.sh PACKAGE DIRECTORY: put the upstream archive of a Debian or Ubuntu source package into DIRECTORY.
#
# Needs no root: apt works on lists, caches and a status file of its own, from the sources that this system has, and
# checks the archive against the distribution's signature.
set -eu

package=$1
mkdir -p "$2"
into=$(cd "$2" && pwd)
command -v apt-get >/dev/null || { echo "fetch.sh: there is no apt-get here; put the sources into $into" >&2; exit 1; }

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state/sources" "$state/lists/partial" "$state/cache/archives/partial" "$state/got"
: >"$state/status"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $file in
        *.list) sed -n 's/^deb /deb-src /p' "$file" ;;
        *.sources) sed 's/^Types:.*/Types: deb-src/' "$file" ;;
        *) continue ;;
    esac >"$state/sources/${file##*/}" 2>/dev/null || rm -f "$state/sources/${file##*/}"
done
cat >"$state/apt.conf" <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$state/sources";
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
END
# One source of several that does not answer is no reason to stop: the download says whether the right one did.
apt-get -c "$state/apt.conf" -qq update >&2 || true
cd "$state/got"
# Only the upstream archive is wanted; that a mirror lacks a file beside it does no harm. What it has to be is known from
# the signed list: a line 'ADDRESS' NAME SIZE SHA256:DIGEST for each file.
apt-get -c "$state/apt.conf" -qq --print-uris source "$package" >uris
apt-get -c "$state/apt.conf" -qq --download-only source "$package" >&2 || true
sed -n "s/^'[^']*' \([^ ]*\.orig\.tar\.[a-z0-9]*\) [0-9]* SHA256:\([0-9a-f]*\)$/\2  \1/p" uris >digests
[ -s digests ] || { echo "fetch.sh: $package has no upstream archive" >&2; exit 1; }
sha256sum --check --quiet digests >&2
while read -r _ file; do mv "$file" "$into/"; done <digests
