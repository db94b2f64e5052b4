"""What every script needs: the gateway as the test describes it on standard input."""

import json
import os
import socket
import struct
import sys
import time

import paramiko
from paramiko.message import Message

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


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


def number(*values):
    return struct.pack(">" + "I" * len(values), *values)


def send(connection, *parts):
    """Sends one message, whatever it holds; the server may have closed meanwhile."""
    message = Message()
    message.add_bytes(b"".join(parts))
    try:
        connection._send_message(message)
    except (EOFError, OSError, paramiko.SSHException):
        pass


def listen(connection):
    """The list to which every further message of the server is added: its type and its bytes."""
    seen = []
    read = connection.packetizer.read_message

    def spy():
        kind, message = read()
        seen.append((kind, message.asbytes()))
        return kind, message

    connection.packetizer.read_message = spy
    return seen


def wait_for(what, seconds=15):
    """Waits until something holds; whether it came to hold."""
    end = time.time() + seconds
    while not what():
        if time.time() > end:
            return False
        time.sleep(0.01)
    return True


def ends(connection, seconds=15):
    return wait_for(lambda: not connection.is_active(), seconds)


def cpu():
    """Processor time that the gateway has used, in seconds."""
    with open(f"/proc/{TOLD['pid']}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_idle(why):
    """The gateway does nothing for a second, whatever is open."""
    time.sleep(0.3)
    before = cpu()
    time.sleep(1)
    assert cpu() - before < 0.3, (why, cpu() - before)
