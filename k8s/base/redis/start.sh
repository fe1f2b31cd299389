#!/bin/sh
# Start Redis with one user, whose password the environment gives; the file that holds it lies in memory.
set -eu
: "${REDIS_PASSWORD:?is not set: give the user \`gateway\` a password}"
case $REDIS_PASSWORD in
    *[!A-Za-z0-9._~-]*) echo 'REDIS_PASSWORD: letters, digits and . _ ~ - alone, for it stands in a URL' >&2; exit 1 ;;
esac
here=$(dirname "$0")
umask 077
{
    cat "$here/redis.conf"
    printf 'user gateway on >%s %s\n' "$REDIS_PASSWORD" "$(tr '\n' ' ' < "$here/gateway.acl")"
} > /run/redis/redis.conf
exec redis-server /run/redis/redis.conf
