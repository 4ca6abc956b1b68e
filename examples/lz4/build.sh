#!/bin/sh
# Fill $NATIVELIB_PREFIX with LZ4, compiled from source; `nativelib build` runs it in this directory.
#
# The sources are lz4_VERSION.orig.tar.* in $LZ4_SOURCES (default: build), fetched there if they are missing. CC, CFLAGS
# and LDFLAGS are the compiler and its options, for another machine or C library too.
set -eu

sources=${LZ4_SOURCES:-build}
archive() { ls "$sources"/lz4_*.orig.tar.* 2>/dev/null | tail -n 1; }
[ -n "$(archive)" ] || sh fetch.sh lz4 "$sources"
archive=$(archive)
version=${archive##*/lz4_}
version=${version%%.orig.tar.*}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
tar -xf "$archive" -C "$tree" --strip-components=1

# No static library, no debugging information: nothing of the temporary directory gets into the result.
make -s -C "$tree/lib" -j"${NATIVELIB_JOBS:-1}" install \
    CC="${CC:-cc}" CFLAGS="${CFLAGS:--O2}" LDFLAGS="${LDFLAGS:--s}" BUILD_STATIC=no PREFIX="$NATIVELIB_PREFIX"
mkdir -p "$NATIVELIB_PREFIX/share/doc/lz4"
cp "$tree/lib/LICENSE" "$NATIVELIB_PREFIX/share/doc/lz4/"
echo "$version" >"$NATIVELIB_PREFIX/.nativelib-version"
