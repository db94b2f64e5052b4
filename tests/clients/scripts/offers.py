"""A key that is offered, or whose signature does not fit, is no login; offers are counted."""

import paramiko
from paramiko.common import cMSG_USERAUTH_REQUEST, MSG_USERAUTH_FAILURE, MSG_USERAUTH_SUCCESS
from paramiko.message import Message

from common import TOLD, key, transport

MSG_USERAUTH_PK_OK = 60
replies = []


def connect():
    """A connection on which the answers to raw requests are collected."""
    connection = transport()
    ready = paramiko.Message()
    ready.add_byte(paramiko.common.cMSG_SERVICE_REQUEST)
    ready.add_string("ssh-userauth")
    replies.clear()
    connection.auth_handler = paramiko.auth_handler.AuthHandler(connection)
    table = dict(connection.auth_handler._client_handler_table)
    table[paramiko.common.MSG_SERVICE_ACCEPT] = lambda *_: replies.append("service")
    table[MSG_USERAUTH_FAILURE] = lambda *_: replies.append("failure")
    table[MSG_USERAUTH_SUCCESS] = lambda *_: replies.append("success")
    table[MSG_USERAUTH_PK_OK] = lambda *_: replies.append("ok")
    type(connection.auth_handler)._client_handler_table = table
    connection._send_message(ready)
    wait(connection, 1)
    return connection


def wait(connection, count):
    import time

    end = time.time() + 15
    while len(replies) < count and connection.is_active() and time.time() < end:
        time.sleep(0.01)


def request(user, blob, algorithm, signature=None):
    message = Message()
    message.add_byte(cMSG_USERAUTH_REQUEST)
    message.add_string(user)
    message.add_string("ssh-connection")
    message.add_string("publickey")
    message.add_boolean(signature is not None)
    message.add_string(algorithm)
    message.add_string(blob)
    if signature is not None:
        message.add_string(signature)
    return message


mine = key()
other = paramiko.ECDSAKey.generate()

# An offer of a known key is answered truthfully, and opens nothing.
connection = connect()
connection._send_message(request(TOLD["user"], mine.asbytes(), "ssh-ed25519"))
wait(connection, 2)
assert replies == ["service", "ok"], replies
assert not connection.is_authenticated()
try:
    channel = connection.open_session(timeout=5)
    raise AssertionError("a channel opened after an offer")
except (paramiko.SSHException, EOFError):
    pass
connection.close()

# The known key is offered, another one signs; and a signature over another login.
for signer in (other, mine):
    connection = connect()
    connection._send_message(request(TOLD["user"], mine.asbytes(), "ssh-ed25519"))
    wait(connection, 2)
    signature = signer.sign_ssh_data(b"not this login")
    signature = signature if isinstance(signature, bytes) else signature.asbytes()
    connection._send_message(request(TOLD["user"], mine.asbytes(), "ssh-ed25519", signature))
    wait(connection, 3)
    assert "success" not in replies, replies
    assert not connection.is_authenticated()
    connection.close()

# Offers are counted: a connection cannot try keys for ever (rule L3).
connection = connect()
for count in range(60):
    if not connection.is_active():
        break
    blob = paramiko.ECDSAKey.generate().asbytes()
    try:
        connection._send_message(request(TOLD["user"], blob, "ecdsa-sha2-nistp256"))
    except (EOFError, OSError):
        break
    wait(connection, count + 2)
assert not connection.is_active(), "sixty offers were answered"
assert replies.count("failure") <= 21, replies
print("done")
