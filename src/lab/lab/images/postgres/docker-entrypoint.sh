#!/bin/bash
# What the official image promises: on an empty PGDATA, make the cluster, the superuser and the
# database that POSTGRES_USER, _PASSWORD and _DB (or the *_FILE forms) name, and run the init folder.
set -Eeuo pipefail

value() { # NAME DEFAULT
    local file=${1}_FILE
    if [ -n "${!file:-}" ]; then cat "${!file}"; else echo "${!1:-$2}"; fi
}

initialise() {
    local user password database file
    user=$(value POSTGRES_USER postgres)
    password=$(value POSTGRES_PASSWORD '')
    database=$(value POSTGRES_DB "$user")
    [ -n "$password" ] || { echo >&2 'POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE is needed'; exit 1; }
    export PGUSER=$user
    mkdir -p "$PGDATA" && { chmod 700 "$PGDATA" || true; }
    # shellcheck disable=SC2086  # these are several words
    initdb --username="$user" --pwfile=<(echo "$password") --auth-host=scram-sha-256 \
        --auth-local=trust -E UTF8 -D "$PGDATA" ${POSTGRES_INITDB_ARGS:-}
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    [ "$database" = postgres ] ||
        psql -v ON_ERROR_STOP=1 -d postgres --set db="$database" <<<'CREATE DATABASE :"db";'
    export POSTGRES_USER=$user POSTGRES_DB=$database
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
        *.sql) psql -v ON_ERROR_STOP=1 -d "$database" -f "$file" ;;
        *.sql.gz) gunzip -c "$file" | psql -v ON_ERROR_STOP=1 -d "$database" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
}

[ "${1:0:1}" = - ] && set -- postgres "$@"
if [ "$1" = postgres ]; then
    [ -s "$PGDATA/PG_VERSION" ] || (initialise)
    shift
    set -- postgres -c listen_addresses='*' "$@"
fi
exec "$@"
