#!/bin/bash
# What the official image promises: an option or a .conf file is an argument of redis-server, and
# without a configuration of its own the server takes connections from other hosts.
set -euo pipefail

first=${1:-redis-server}
if [ "${first:0:1}" = - ] || [ "${first%.conf}" != "$first" ]; then set -- redis-server "$@"; fi
second=${2:-}
if [ "${1:-}" = redis-server ] && [ "${second%.conf}" = "$second" ]; then
    shift
    set -- redis-server --protected-mode no "$@"
fi
exec "$@"
