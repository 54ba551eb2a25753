# Starts Sentinel with its saved state and the current settings and passwords.
set -eu
umask 077
kept=/data/sentinel.conf
password=$(cat /run/secrets/redis/auditflow-sentinel)

if [ -e "$kept" ]; then
  learnt=$(grep -E '^sentinel (myid|monitor|(config|leader|current)-epoch|known-(replica|sentinel)) ' "$kept")
else
  # Redis in the same pod has determined its master.
  until [ -e /data/redis.conf ]; do sleep 1; done
  master=$(sed -n -E 's/^(replicaof|slaveof) "?([^ "]+).*/\2/p' /data/redis.conf)
  learnt="sentinel monitor auditflow ${master:-$ME} 6379 2"
fi

# "monitor" must come before the other settings of the master.
{
  echo "$learnt" | grep -E '^sentinel monitor '
  cat /etc/redis/sentinel.conf
  echo "sentinel announce-ip $ME"
  echo "sentinel auth-pass auditflow $password"
  echo "sentinel sentinel-pass $password"
  echo "$learnt" | grep -v -E '^sentinel monitor ' || true
} >"$kept.new"
mv "$kept.new" "$kept"
exec redis-server "$kept" --sentinel
