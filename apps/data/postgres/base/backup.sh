# A dump that is complete, or not there. Read back at once: a backup that cannot be read is none.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres/PGPASSWORD)
export PGPASSWORD
file=/backup/auditflow-$(date -u +%Y%m%dT%H%M%SZ).dump
pg_dump --format=custom --file="$file.part"
pg_restore --list "$file.part" >/dev/null
sync "$file.part"
mv "$file.part" "$file"
find /backup -name 'auditflow-*.dump*' -mtime "+$KEEP_DAYS" -delete
ls -l "$file"
