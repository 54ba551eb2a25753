# Restores the newest dump of the archive's manifest, or the one that BACKUP names, in one transaction (all or
# nothing). The role owns the schema "archive" but may not create a schema. Therefore its tables are dropped, and
# the schema stays.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres/PG_PASSWORD)
export PGPASSWORD
newest=$(ls /backup | grep '^archive-.*[.]dump$' | tail -n 1)
ls -l /backup
if [ -z "${BACKUP:-$newest}" ]; then
    echo "there is no dump of a manifest here: is this the volume that has them?" >&2
    exit 1
fi
file=/backup/${BACKUP:-$newest}
echo "restoring $file"
contents=$(pg_restore --list "$file" | grep -v ' SCHEMA - archive ')
{
    echo 'BEGIN;
        DO $drop$
        DECLARE
            existing name;
        BEGIN
            FOR existing IN SELECT tablename FROM pg_tables WHERE schemaname = $$archive$$ LOOP
                EXECUTE format($$DROP TABLE archive.%I CASCADE$$, existing);
            END LOOP;
        END $drop$;'
    if echo "$contents" | pg_restore --no-owner --use-list=/dev/stdin --file=- "$file"; then
        echo 'COMMIT;'
    else
        echo 'SELECT the_dump_cannot_be_read;' # an invalid statement, so that psql fails and rolls back
    fi
} | psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1
psql --no-psqlrc --tuples-only --command="SELECT count(*) || ' files with ' || coalesce(sum(rows), 0) || ' events'
    FROM archive.files WHERE state = 'committed'"
