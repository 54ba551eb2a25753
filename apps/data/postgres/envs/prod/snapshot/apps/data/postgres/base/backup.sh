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
time=$(date -u +%Y%m%dT%H%M%SZ)
file=/backup/auditflow-$time.dump
pg_dump --format=custom --exclude-schema=archive --file="$file.part"
pg_restore --list "$file.part" >/dev/null
sync "$file.part"
mv "$file.part" "$file"
# The archive's schema belongs to another role, and its files are not here. Therefore its manifest has its
# own dump, which a restore of the alerts does not touch. It is newer than the dump of the alerts: the signed
# checkpoints there must not cover entries of the log of files that this dump does not have.
manifest=$(psql --no-psqlrc --tuples-only --no-align \
    --command="SELECT to_regclass('archive.files') IS NOT NULL")
if [ "$manifest" = t ]; then
    pg_dump --format=custom --schema=archive --file="/backup/archive-$time.dump.part"
    sync "/backup/archive-$time.dump.part"
    mv "/backup/archive-$time.dump.part" "/backup/archive-$time.dump"
fi
find /backup \( -name 'auditflow-*.dump*' -o -name 'archive-*.dump*' \) -mtime "+$KEEP_DAYS" -delete
ls -l "$file"
