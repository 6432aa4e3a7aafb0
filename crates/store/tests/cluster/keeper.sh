#!/bin/sh
# Runs a PostgreSQL cluster for tests: keeper.sh BIN DIRECTORY USERS
#
# Says "ready" once it answers on the socket in DIRECTORY. Every test process holds a shared lock on the file
# USERS and touches it when it comes; when nobody holds it and nobody came for a while, the cluster ends
# and its directory goes. Nothing survives that: it ends by itself also when its tests were killed.
set -eu
bin=$1 directory=$2 users=$3
idle_s=20
exec 9<>"$users"

# initdb and postgres refuse to run as root.
if [ "$(id -u)" = 0 ]; then
  chown postgres "$directory"
  as_owner() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
else
  as_owner() { "$@"; }
fi
cd "$directory"
trap 'rm -rf "$directory"' EXIT

as_owner "$bin/initdb" --pgdata=data --username=hushpad --auth=trust --encoding=UTF8 --no-locale --no-sync \
  >/dev/null 9>&-
cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$directory'
max_connections = 300
shared_buffers = 32MB
CONF
as_owner "$bin/pg_ctl" --pgdata=data --wait --timeout=60 --log=log start >/dev/null 9>&-
echo ready
exec >/dev/null 2>&1

while sleep 2 && as_owner "$bin/pg_ctl" --pgdata=data status 9>&-; do
  if flock --exclusive --nonblock 9; then
    # Held to the end when it ends: who comes now waits for that, and then starts another.
    [ $(($(date +%s) - $(stat -c %Y "$users"))) -lt $idle_s ] || break
    flock --unlock 9
  fi
done
as_owner "$bin/pg_ctl" --pgdata=data --mode=immediate --wait --timeout=60 stop 9>&- || true
