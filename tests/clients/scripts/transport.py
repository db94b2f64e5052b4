"""Messages of the SSH transport and of the login that well-behaved clients never send."""

import os
import socket
import struct
import time

import paramiko
from paramiko.message import Message

from common import TOLD, logged_in, transport


def resident():
    for line in open(f"/proc/{TOLD['pid']}/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1])


def send(connection, *parts):
    """Sends one message: ints of one byte, strings, and bytes as they are."""
    message = Message()
    message.add_bytes(b"".join(parts))
    try:
        connection._send_message(message)
    except (EOFError, OSError, paramiko.SSHException):
        pass


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


def ends(connection, seconds=15):
    end = time.time() + seconds
    while connection.is_active() and time.time() < end:
        time.sleep(0.01)
    return not connection.is_active()


before = resident()

# CVE-2026-42189: the count of answers to a prompt sizes nothing.
connection = transport()
send(connection, b"\x05", text("ssh-userauth"))
request = b"\x32" + text(TOLD["user"]) + text("ssh-connection")
send(connection, request, text("keyboard-interactive"), text(""), text(""))
time.sleep(0.5)
for count in (0x10000000, 0xFFFFFFFF):
    send(connection, b"\x3d", struct.pack(">I", count))
assert ends(connection) or not connection.is_authenticated()
connection.close()

# Answers to prompts that nobody asked, before and after.
connection = transport()
send(connection, b"\x05", text("ssh-userauth"))
send(connection, b"\x3d", struct.pack(">I", 1), text("x"))
time.sleep(0.5)
assert not connection.is_authenticated()
connection.close()

# Unknown methods, another service, and user names that are no names.
for user, service, method in (
    (TOLD["user"], "ssh-connection", "gssapi-with-mic"),
    (TOLD["user"], "ssh-connection", ""),
    (TOLD["user"], "nfs", "password"),
    ("", "ssh-connection", "none"),
    ("a" * 100_000, "ssh-connection", "none"),
    ("a\0b", "ssh-connection", "none"),
):
    connection = transport()
    send(connection, b"\x05", text("ssh-userauth"))
    send(connection, b"\x32", text(user), text(service), text(method))
    time.sleep(0.2)
    assert not connection.is_authenticated()
    connection.close()
connection = transport()
send(connection, b"\x05", text("ssh-userauth"))
send(connection, b"\x32", text(b"\xff\xfe"), text("ssh-connection"), text("none"))
time.sleep(0.2)
assert not connection.is_authenticated()
connection.close()

# The service changes between two factors: nothing carries over (CVE-2026-46705).
connection = transport()
send(connection, b"\x05", text("ssh-userauth"))
send(connection, b"\x32", text(TOLD["user"]), text("ssh-connection"), text("none"))
send(connection, b"\x05", text("ssh-connection"))
time.sleep(0.3)
assert not connection.is_authenticated()
connection.close()

# Channels with a maximum packet of 0 and 1 (ProFTPD 2242), and short subsystem payloads.
for maximum in (0, 1):
    connection = logged_in()
    send(connection, b"\x5a", text("session"), struct.pack(">III", 7, 1 << 20, maximum))
    send(connection, b"\x62", struct.pack(">I", 0), text("subsystem"), b"\x01", text("sftp"))
    send(connection, b"\x5e", struct.pack(">I", 0), text(struct.pack(">IBI", 5, 1, 3)))
    used = os.times()
    time.sleep(0.5)
    connection.close()
for payload in (b"", b"\0", b"\0\0\0", b"\xff\xff\xff\xff", struct.pack(">I", 10) + b"sf"):
    connection = logged_in()
    channel = connection.open_session()
    remote = struct.pack(">I", channel.remote_chanid)
    send(connection, b"\x62", remote, text("subsystem"), b"\x01", payload)
    time.sleep(0.1)
    connection.close()

# Requests for channels that do not exist, windows that overflow, data beyond the window.
connection = logged_in()
for number in (0, 1, 99, 0xFFFFFFFF):
    send(connection, b"\x5d", struct.pack(">II", number, 0xFFFFFFFF))
    send(connection, b"\x5e", struct.pack(">I", number), text(b"x"))
    send(connection, b"\x60", struct.pack(">I", number))
time.sleep(0.3)
connection.close()
connection = logged_in()
channel = connection.open_session()
remote = struct.pack(">I", channel.remote_chanid)
for _ in range(4):
    send(connection, b"\x5d", remote, struct.pack(">I", 0xFFFFFFFF))
time.sleep(0.3)
connection.close()

# A flood of messages before the login.
connection = transport()
for _ in range(20_000):
    if not connection.is_active():
        break
    send(connection, b"\x02", text(b"x" * 100))
connection.close()

# Broken transport packets: too long, padding longer than the packet, a wrong checksum.
for packet in (
    struct.pack(">IB", 0xFFFFFFFF, 4),
    struct.pack(">IB", 12, 255) + b"x" * 40,
    struct.pack(">IB", 0, 0) + b"x" * 40,
):
    sock = socket.create_connection((TOLD["host"], TOLD["port"]), timeout=10)
    sock.sendall(b"SSH-2.0-test\r\n" + packet)
    sock.settimeout(35)
    try:
        while sock.recv(4096):
            pass
    except OSError:
        pass
    sock.close()

# A zero public key in the exchange (GHSA-5xvq-cp9x-6p6r).
sock = socket.create_connection((TOLD["host"], TOLD["port"]), timeout=10)
sock.sendall(b"SSH-2.0-test\r\n")
names = [b"curve25519-sha256", b"ssh-ed25519"]
names += [b"aes128-ctr"] * 2 + [b"hmac-sha2-256"] * 2 + [b"none"] * 2 + [b""] * 2
body = b"\x14" + b"\0" * 16 + b"".join(text(name) for name in names) + b"\0" * 5


def plain(payload):
    pad = 8 - (len(payload) + 5) % 8
    pad += 8 if pad < 4 else 0
    return struct.pack(">IB", len(payload) + pad + 1, pad) + payload + b"\0" * pad


sock.sendall(plain(body) + plain(b"\x1e" + text(b"\0" * 32)))
sock.settimeout(35)
try:
    while sock.recv(4096):
        pass
except OSError:
    pass
sock.close()

after = resident()
assert after < before + 24 * 1024, (before, after)
logged_in().close()
print("done")
