#!/bin/sh
# Run by the Dockerfile: copies to /rootfs only what Python needs to run. No shell, no
# package manager, no setuid file. The packages of the files are listed where
# scanners look for them (/var/lib/dpkg/status.d, as in distroless images).
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
# File databases, which a read-only image cannot use, with their libraries; and
# CPython's own tests. sqlite3 stays: the rate limiter's library imports it.
rm -rf "/rootfs$library/dbm"
find "/rootfs$library/lib-dynload" -regex '.*/\(_g?dbm\|_tkinter\|_?xx.*\|_.*test.*\)[.][^/]*' -delete
find "/rootfs$library" -name __pycache__ -prune -exec rm -r {} +
python3 -m compileall -q -s /rootfs "/rootfs$library"

# The libraries of Python and its modules; for wheels, which contain other libraries, the complete C and
# C++ runtimes.
{
    { echo "$python"; find "/rootfs$library" -name '*.so'; } | xargs ldd | sed -n 's/.* => \(\/[^ ]*\).*/\1/p'
    dpkg --listfiles libc6 libstdc++6 libgcc-s1 | grep -E '/(ld|lib)[^/]*[.]so[.][0-9]+$'
    find -L /lib64 /lib -maxdepth 1 -name 'ld-linux*'
} | sort -u >/libraries
xargs cp -L --parents -t /rootfs </libraries

for file in "$python" $(cat /libraries); do
    # Debian's database lists a library under one of two folder names.
    { dpkg -S "$(readlink -f "$file")" || dpkg -S "/usr$file" || dpkg -S "${file#/usr}"; } 2>/dev/null || true
done | sed 's/: .*//' | sort -u | while read -r package; do
    dpkg-query --status "$package" >"/rootfs/var/lib/dpkg/status.d/${package%%:*}"
done

cp /etc/os-release /etc/ld.so.cache /etc/nsswitch.conf /rootfs/etc 2>/dev/null ||
    cp /etc/os-release /etc/ld.so.cache /rootfs/etc
echo 'auditflow:x:65532:65532::/nonexistent:/nonexistent' >/rootfs/etc/passwd
echo 'auditflow:x:65532:' >/rootfs/etc/group
