# Restores the newest backup, or the one that BACKUP names, in one transaction (all or nothing). The
# schema is dropped first, because pg_restore --clean cannot drop partitioned tables.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres/PG_PASSWORD)
export PGPASSWORD
newest=$(ls /backup | grep '^auditflow-.*[.]dump$' | tail -n 1)
ls -l /backup
if [ -z "${BACKUP:-$newest}" ]; then
    echo "there is no backup here: is this the volume that has them?" >&2
    exit 1
fi
file=/backup/${BACKUP:-$newest}
echo "restoring $file"
{
    echo 'BEGIN; DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;'
    if pg_restore --no-owner --file=- "$file"; then
        echo 'COMMIT;'
    else
        echo 'SELECT the_backup_cannot_be_read;' # an invalid statement, so that psql fails and rolls back
    fi
} | psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1
psql --no-psqlrc --tuples-only --command="SELECT count(*) || ' alerts' FROM alerts"
