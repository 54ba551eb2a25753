# Checks whether Redis is ready: it is a master, or a replica that is connected to its master.
set -eu
said=$(REDISCLI_AUTH=$(cat /run/secrets/redis/auditflow-sentinel) redis-cli -h 127.0.0.1 -p 6379 \
  --user auditflow-sentinel info replication)
echo "$said" | grep -q -E '^(role:master|master_link_status:up)'
