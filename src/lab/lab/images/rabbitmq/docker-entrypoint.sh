#!/bin/bash
# What the official image promises: RABBITMQ_DEFAULT_USER, _PASS and _VHOST name the first user.
set -euo pipefail

if [ "${1:-}" = rabbitmq-server ] && [ -w /etc/rabbitmq/conf.d ]; then
    for name in USER PASS VHOST; do
        variable=RABBITMQ_DEFAULT_$name
        [ -z "${!variable:-}" ] || echo "default_${name,,} = ${!variable}"
    done >/etc/rabbitmq/conf.d/10-defaults.conf
fi
exec "$@"
