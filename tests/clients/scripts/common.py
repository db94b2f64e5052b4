"""What every script needs: the gateway as the test describes it on standard input."""

import json
import socket
import sys

import paramiko

TOLD = json.load(sys.stdin)


def transport():
    """A connection after the key exchange and before any login."""
    sock = socket.create_connection((TOLD["host"], TOLD["port"]), timeout=20)
    connection = paramiko.Transport(sock)
    connection.start_client(timeout=20)
    return connection


def key():
    return paramiko.Ed25519Key.from_private_key_file(TOLD["key_file"])


def logged_in():
    connection = transport()
    connection.auth_publickey(TOLD["user"], key())
    assert connection.is_authenticated()
    return connection
