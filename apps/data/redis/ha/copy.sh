# Copies every window from one Redis to another. Both use the same passwords of people:
#
#   REDISCLI_AUTH=<password of auditflow-admin> sh copy.sh FROM_HOST FROM_PORT TO_HOST TO_PORT
#
# It can be run again. Nothing may write during the copy. FROM_TLS=1: the source uses TLS, as the single Redis does.
# The target must not use TLS, because the source connects to it with "tls-replication no".
set -eu
tls=
[ -z "${FROM_TLS:-}" ] || tls="--tls --cacert /run/secrets/ca/ca.crt"
# shellcheck disable=SC2086 # these are several words
from() { redis-cli $tls -e -h "$from_host" -p "$from_port" --user auditflow-admin "$@"; }
from_host=$1 from_port=$2 to_host=$3 to_port=$4
names=$(mktemp)
trap 'rm -f "$names"' EXIT
from --scan >"$names"
xargs -r -n 100 redis-cli $tls -e -h "$from_host" -p "$from_port" --user auditflow-admin MIGRATE \
  "$to_host" "$to_port" "" 0 60000 COPY REPLACE AUTH2 auditflow-admin "$REDISCLI_AUTH" KEYS \
  <"$names" >/dev/null
echo "$(from dbsize) windows' keys at $from_host, and" \
  "$(redis-cli -e -h "$to_host" -p "$to_port" --user auditflow-admin dbsize) at $to_host"
