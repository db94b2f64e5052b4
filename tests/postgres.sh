# A throw-away server of PostgreSQL, for scripts to source: start_postgres sets `address`, and the
# server is stopped and removed when the script ends.

# A server of PostgreSQL for as long as this script runs, on a socket and a free port of loopback.
# Started as `nobody` where this runs as root, which the server refuses.
start_postgres() {
    local port
    postgres_bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' | sort -V | tail -1)
    postgres=$(mktemp -d /tmp/portcullis-postgres.XXXXXX)
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    trap stop_postgres EXIT
    chmod 755 "$postgres"
    [ "$(id -u)" != 0 ] || chown nobody "$postgres"
    as_nobody "$postgres_bin/initdb" -D "$postgres/data" -U postgres -A trust --no-sync -E UTF8 --locale=C \
        >"$postgres/initdb.log" 2>&1 || { cat "$postgres/initdb.log"; return 1; }
    printf '%s\n' "port=$port" "listen_addresses='127.0.0.1'" \
        "unix_socket_directories='$postgres'" fsync=off full_page_writes=off \
        shared_buffers=64MB max_connections=500 >>"$postgres/data/postgresql.conf"
    as_nobody "$postgres_bin/pg_ctl" -D "$postgres/data" -w -s -l "$postgres/data/log" start || return 1
    address="postgres://postgres@localhost:$port/postgres?host=$postgres"
}

stop_postgres() {
    as_nobody "$postgres_bin/pg_ctl" -D "$postgres/data" -s -m immediate stop
    rm -rf "$postgres"
}

as_nobody() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups "$@")
    else
        "$@"
    fi
}
