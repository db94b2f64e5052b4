"""Rule L6: another user name starts over, whatever the last one has proven."""

import sys

from common import TOLD, key, listen, number, send, text, transport, wait_for

OTHER, OTHER_CODE = sys.argv[1:3]


def answer(*parts):
    """Sends a message of the login and returns the answer: its type and its bytes."""
    seen.clear()
    send(connection, *parts)
    # SERVICE_ACCEPT and EXT_INFO come when they come.
    answers = lambda: [said for said in seen if said[0] >= 50]
    wait_for(lambda: answers() or not connection.is_active(), 20)
    return answers()[0] if answers() else (0, b"")


def begin():
    connection = transport()
    seen = listen(connection)
    send(connection, b"\x05", text("ssh-userauth"))
    return connection, seen


def request(user, method, *more, service="ssh-connection"):
    return (b"\x32", text(user), text(service), text(method), *more)


def prompts(user, service="ssh-connection"):
    return request(user, "keyboard-interactive", text(""), text(""), service=service)


def reply(value):
    return (b"\x3d", number(1), text(value))


def proven():
    """A connection on which the first user's key is proven, and a code is due."""
    global connection, seen
    connection, seen = begin()
    mine = key()
    unsigned = request(TOLD["user"], "publickey", b"\x01", text("ssh-ed25519"), text(mine.asbytes()))
    signature = mine.sign_ssh_data(text(connection.session_id) + b"".join(unsigned)).asbytes()
    kind, said = answer(*unsigned, text(signature))
    assert kind == 51 and said.endswith(b"\x01"), (kind, said)


# A right password of one name, then the code of another.
connection, seen = begin()
assert b"Password: " in answer(*prompts(TOLD["user"]))[1]
kind, said = answer(*reply(TOLD["password"]))
assert kind == 60 and b"Code: " in said, (kind, said)
kind, said = answer(*prompts(OTHER))
assert kind == 60 and b"Password: " in said, (kind, said)
assert answer(*reply(OTHER_CODE))[0] != 52
connection.close()

# A proven key of one name, then the code of another; and the proof is gone for the first.
proven()
kind, said = answer(*prompts(OTHER))
assert kind == 60 and b"Password: " in said, (kind, said)
assert answer(*reply(OTHER_CODE))[0] != 52
kind, said = answer(*prompts(TOLD["user"]))
assert kind == 60 and b"Password: " in said, "the proof of the key was kept"
connection.close()

# Another service between the factors: refused, and never logged in there (RFC 4252 5).
for service in ("nfs", "", "ssh-userauth"):
    proven()
    kind, said = answer(*prompts(TOLD["user"], service))
    if kind == 60:
        assert b"Code: " not in said, (service, "the proof was good for another service")
        kind, said = answer(*reply(TOLD["code"]))
    assert kind != 52, service
    connection.close()
print("done")
