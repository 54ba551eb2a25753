#!/bin/sh
# Run by the Dockerfile: copies to /rootfs what Python needs to run, and nothing else. No shell, no
# package manager, nothing that is setuid. The packages that the files are from are listed where
# scanners look (/var/lib/dpkg/status.d, as in distroless images).
set -eu

python=$(readlink -f /usr/local/bin/python3)
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')

mkdir -p /rootfs/etc /rootfs/var/lib/dpkg/status.d
mkdir -m 1777 /rootfs/tmp
cp -a --parents /usr/local/bin/python3 "$python" "$library" /usr/share/zoneinfo /rootfs
for unused in ensurepip idlelib lib2to3 pydoc_data site-packages test tkinter turtledemo turtle.py venv; do
    rm -rf "/rootfs$library/$unused"
done
rm -rf "/rootfs$library"/config-*
# Databases in a file, which a read-only image has no place for, and with them their libraries; and
# what CPython tests itself with.
rm -rf "/rootfs$library/dbm" "/rootfs$library/sqlite3"
find "/rootfs$library/lib-dynload" -regex '.*/\(_g?dbm\|_sqlite3\|_tkinter\|_?xx.*\|_.*test.*\)[.][^/]*' -delete
find "/rootfs$library" -name __pycache__ -prune -exec rm -r {} +
python3 -m compileall -q -s /rootfs "/rootfs$library"

# What Python and its modules link to; and for wheels, which bring other libraries along, the C and
# C++ runtimes whole.
{
    { echo "$python"; find "/rootfs$library" -name '*.so'; } | xargs ldd | sed -n 's/.* => \(\/[^ ]*\).*/\1/p'
    dpkg --listfiles libc6 libstdc++6 libgcc-s1 | grep -E '/(ld|lib)[^/]*[.]so[.][0-9]+$'
    find -L /lib64 /lib -maxdepth 1 -name 'ld-linux*'
} | sort -u >/libraries
xargs cp -L --parents -t /rootfs </libraries

for file in "$python" $(cat /libraries); do
    # Debian's database knows a library by the one or the other of two names for its folder.
    { dpkg -S "$(readlink -f "$file")" || dpkg -S "/usr$file" || dpkg -S "${file#/usr}"; } 2>/dev/null || true
done | sed 's/: .*//' | sort -u | while read -r package; do
    dpkg-query --status "$package" >"/rootfs/var/lib/dpkg/status.d/${package%%:*}"
done

cp /etc/os-release /etc/ld.so.cache /etc/nsswitch.conf /rootfs/etc 2>/dev/null ||
    cp /etc/os-release /etc/ld.so.cache /rootfs/etc
echo 'auditflow:x:65532:65532::/nonexistent:/nonexistent' >/rootfs/etc/passwd
echo 'auditflow:x:65532:' >/rootfs/etc/group
