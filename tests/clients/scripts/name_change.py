"""Rule L6: another user name starts over, whatever the last one has proven."""

import struct
import sys
import time

import paramiko
from paramiko.message import Message

from common import TOLD, key, transport

OTHER, OTHER_CODE = sys.argv[1:3]
seen = []


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(value)) + value


def send(*parts):
    message = Message()
    message.add_bytes(b"".join(parts))
    connection._send_message(message)


def answer(*parts):
    """Sends one message and returns the next one of the server: its type and its bytes."""
    seen.clear()
    send(*parts)
    end = time.time() + 20
    while not seen and connection.is_active() and time.time() < end:
        time.sleep(0.01)
    return seen[0] if seen else (0, b"")


def connect():
    connection = transport()
    read = connection.packetizer.read_message

    def spy():
        kind, message = read()
        seen.append((kind, message.asbytes()))
        return kind, message

    connection.packetizer.read_message = spy
    return connection


def request(user, method, *more):
    return (b"\x32", text(user), text("ssh-connection"), text(method), *more)


def prompts(user):
    return request(user, "keyboard-interactive", text(""), text(""))


def reply(value):
    return (b"\x3d", struct.pack(">I", 1), text(value))


# A right password of one name, then the code of another.
connection = connect()
answer(b"\x05", text("ssh-userauth"))
assert b"Password: " in answer(*prompts(TOLD["user"]))[1]
kind, said = answer(*reply(TOLD["password"]))
assert kind == 60 and b"Code: " in said, (kind, said)
kind, said = answer(*prompts(OTHER))
assert kind == 60 and b"Password: " in said, (kind, said)
assert answer(*reply(OTHER_CODE))[0] != 52
connection.close()

# A proven key of one name, then the code of another; and the proof is gone for the first.
connection = connect()
answer(b"\x05", text("ssh-userauth"))
mine = key()
blob = mine.asbytes()
unsigned = request(TOLD["user"], "publickey", b"\x01", text("ssh-ed25519"), text(blob))
signature = mine.sign_ssh_data(text(connection.session_id) + b"".join(unsigned)).asbytes()
kind, said = answer(*unsigned, text(signature))
assert kind == 51 and said.endswith(b"\x01"), (kind, said)
kind, said = answer(*prompts(OTHER))
assert kind == 60 and b"Password: " in said, (kind, said)
assert answer(*reply(OTHER_CODE))[0] != 52
kind, said = answer(*prompts(TOLD["user"]))
assert kind == 60 and b"Password: " in said, "the proof of the key was kept"
connection.close()
print("done")
