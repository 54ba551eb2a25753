# Writes a complete dump or none, and reads it back, because a backup that cannot be read is useless.
# A database without alerts is new or has lost them. Its dump would be the newest, which a restore uses,
# and the good dumps would be deleted because of their age.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres/PGPASSWORD)
export PGPASSWORD
alerts=$(psql --no-psqlrc --tuples-only --no-align --command='SELECT EXISTS (SELECT FROM alerts)')
if [ "$alerts" = f ]; then
    echo "there are no alerts: nothing is written, and the backups that are there stay"
    exit 0
fi
file=/backup/auditflow-$(date -u +%Y%m%dT%H%M%SZ).dump
pg_dump --format=custom --file="$file.part"
pg_restore --list "$file.part" >/dev/null
sync "$file.part"
mv "$file.part" "$file"
find /backup -name 'auditflow-*.dump*' -mtime "+$KEEP_DAYS" -delete
ls -l "$file"
