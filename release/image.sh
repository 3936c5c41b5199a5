#!/bin/bash
# Build the image of docs/serving/Dockerfile.cpu where no container daemon is, and try it without a network: `make image`.
#
#   release/image.sh [DOCKERFILE]
#
# Needs root, buildah and, unless BASE=pull, debootstrap. buildah runs the Dockerfile's steps in a chroot. The base image comes
# from a registry (BASE=pull); elsewhere Debian's own packages of the same release and Python stand in for it (the default),
# which are larger. Says the size, and refuses 900 MB and more, a user who is root, and scores that are not there.
set -euo pipefail
cd "$(dirname "$0")/.."
file=${1:-docs/serving/Dockerfile.cpu}
most=900000000
suite=${SUITE:-trixie}
name=emonet-fast-image-try
work=$(mktemp -d "${TMPDIR:-/tmp}/emonet-fast-image.XXXXXX")
# A store of its own, which is deleted with everything that was built. vfs needs no kernel's help, chroot no namespaces.
store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs)
b() { buildah "${store[@]}" "$@"; }
trap 'b rm --all >/dev/null 2>&1 || true; rm -rf --one-file-system "$work"' EXIT

"${HADOLINT:-hadolint}" docs/serving/Dockerfile.*
base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' "$file" | sort -u)
[ "$(wc -l <<<"$base")" = 1 ] || { echo "$file has several base images: $base" >&2; exit 1; }
# The machine's own way to its package index, for the steps that install; nothing of it stays in the image.
lent=(--volume /etc/resolv.conf:/etc/resolv.conf:ro --volume /etc/ssl/certs:/etc/ssl/certs:ro)
[ -f /etc/pip.conf ] && lent+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
if [ "${BASE:-debian}" = debian ]; then
    rootfs=${ROOTFS:-$work/rootfs}
    [ -d "$rootfs" ] || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$suite" "$rootfs" ${MIRROR:+"$MIRROR"} >"$work/debootstrap.log"
    ln -sf /usr/bin/python3 "$rootfs/usr/local/bin/python"
    rm -rf "$rootfs"/var/cache/apt/* "$rootfs"/var/lib/apt/lists/* "$rootfs"/usr/share/doc/* "$rootfs"/usr/share/locale/*
    made=$(b from scratch)
    b add --quiet "$made" "$rootfs" / >/dev/null
    b config --env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$made"
    b commit --quiet "$made" "docker.io/library/$base" >/dev/null
    b rm "$made" >/dev/null
    pull=--pull-never
else
    pull=--pull
fi
b bud --quiet "$pull" --isolation chroot --format docker "${lent[@]}" --file "$file" --tag "$name" . >/dev/null
user=$(b inspect --type image --format '{{.OCIv1.Config.User}}' "$name")
case $user in "" | 0 | root) echo "the image runs as root" >&2; exit 1 ;; esac

# Weights and a picture are made by the image itself, then scored by another run that reads them only and has no network.
made=$(b from --pull-never "$name")
tree=$(b mount "$made")
size=$(du --bytes --summarize "$tree" | cut -f1)
echo "the image: $((size / 1000000)) MB unpacked, without weights, for user $user; $(du --bytes --summarize "$tree/venv" | cut -f1 | sed 's/.\{6\}$//') MB of it in /venv"
[ "$size" -lt "$most" ] || { du --block-size=1MB "$tree" | sort -rn | sed 40q || true; echo "$most bytes or more" >&2; exit 1; }
# buildah gives a chroot no network of its own, so it is started without one.
inside() { unshare --net buildah "${store[@]}" run --isolation chroot "$@"; }
# The image's user owns both folders: emonet-fast uses no cache that others may write.
install -d -m 700 -o "$(inside "$made" -- id -u)" "$work/models" "$work/cache"
inside --volume "$work/models:/models" "$made" -- emonet-fast synthetic /models/tiny --layers 2 --heads small
inside --volume "$work/models:/models" "$made" -- python -c \
    "from PIL import Image; Image.linear_gradient('L').convert('RGB').save('/models/picture.png')"
inside --volume "$work/models:/models:ro" --volume "$work/cache:/cache" "$made" -- sh -c \
    'test "$(id -u)" != 0 && HF_HUB_OFFLINE=1 emonet-fast score /models/picture.png -c /models/tiny --output /cache/scores.csv'
grep -q ',ok,' "$work/cache/scores.csv" || { cat "$work/cache/scores.csv"; exit 1; }
echo "scored a picture without a network"
