# Starts Redis with its previous role. Sentinel writes its master into the configuration.
set -eu
umask 077
kept=/data/redis.conf
password=$(cat /run/secrets/redis/auditflow-replica)

# Returns the master that another Sentinel reports.
known() {
  for peer in $PEERS; do
    [ "$peer" != "$ME" ] || continue
    master=$(REDISCLI_AUTH=$(cat /run/secrets/redis/auditflow-sentinel) timeout 2 redis-cli \
      -h "$peer" -p 26379 --user auditflow-sentinel sentinel get-master-addr-by-name auditflow \
      2>/dev/null | head -n 1) || continue
    case " $PEERS " in *" ${master:-none} "*) echo "$master" && return ;; esac
  done
}

if [ -e "$kept" ]; then
  follows=$(grep -E '^(replicaof|slaveof) ' "$kept" || true)
else
  # There is no data. If no Sentinel answers, this is the first start, and the first pod is the master. If
  # the others report this pod as the master, it lost its volume: they must not replicate an empty master.
  master=$(known)
  while [ "$master" = "$ME" ]; do
    echo "this volume is empty, and I am the master: waiting until another is" >&2
    sleep 2
    master=$(known)
  done
  master=${master:-${PEERS%% *}}
  follows="replicaof $master 6379"
  [ "$master" != "$ME" ] || follows=
fi

cat /etc/redis/redis.conf - >"$kept.new" <<END
replica-announce-ip $ME
masterauth $password
$follows
END
mv "$kept.new" "$kept"
exec redis-server "$kept"
