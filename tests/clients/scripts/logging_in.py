"""Messages of a login that well-behaved clients never send: none of them logs anyone in."""

import time

from common import TOLD, assert_idle, listen, logged_in, number, send, text, transport, wait_for

SUCCESS, INFO_REQUEST, FAILURE = 52, 60, 51


def begin():
    connection = transport()
    seen = listen(connection)
    send(connection, b"\x05", text("ssh-userauth"))
    return connection, seen


def request(user, service, method, *more):
    return (b"\x32", text(user), text(service), text(method), *more)


def refused(connection, seen, why):
    """The client is told no, or is gone; and it is not logged in."""
    told = wait_for(lambda: not connection.is_active() or any(kind == FAILURE for kind, _ in seen))
    kinds = [kind for kind, _ in seen]
    assert told and SUCCESS not in kinds, (why, kinds)
    connection.close()


# CVE-2026-42189: the count of answers to a prompt sizes nothing.
for count in (0, 2, 1000, 0x10000000, 0x7FFFFFFF, 0xFFFFFFFF):
    connection, seen = begin()
    send(connection, *request(TOLD["user"], "ssh-connection", "keyboard-interactive", text(""), text("")))
    assert wait_for(lambda: any(kind == INFO_REQUEST for kind, _ in seen)), seen
    send(connection, b"\x3d", number(count), text("x") if count else b"")
    refused(connection, seen, count)

# As many answers as were sent, and none of them was asked for.
connection, seen = begin()
send(connection, *request(TOLD["user"], "ssh-connection", "keyboard-interactive", text(""), text("")))
assert wait_for(lambda: any(kind == INFO_REQUEST for kind, _ in seen)), seen
send(connection, b"\x3d", number(7000), text("x") * 7000)
refused(connection, seen, "7,000 answers")

# Answers to prompts that nobody asked.
connection, seen = begin()
send(connection, b"\x3d", number(1), text("x"))
time.sleep(0.5)
assert SUCCESS not in [kind for kind, _ in seen]
connection.close()

# Unknown methods, another service, user names that are no names, and fields cut short.
user = TOLD["user"]
for name, message in (
    ("an unknown method", request(user, "ssh-connection", "gssapi-with-mic")),
    ("no method", request(user, "ssh-connection", "")),
    ("another service", request(user, "nfs", "password", b"\0", text("x"))),
    ("no service", request(user, "", "none")),
    ("no name", request("", "ssh-connection", "none")),
    ("a long name", request("a" * 30_000, "ssh-connection", "none")),
    ("a name with NUL", request("a\0b", "ssh-connection", "none")),
    ("a name that is no text", request(b"\xff\xfe", "ssh-connection", "none")),
    ("a password cut short", request(user, "ssh-connection", "password", b"\0", number(100))),
    ("a key cut short", request(user, "ssh-connection", "publickey", b"\1", number(9), b"ssh")),
    ("a key of 4 GiB", request(user, "ssh-connection", "publickey", b"\1", number(0xFFFFFFFF))),
    ("nothing", (b"\x32",)),
):
    connection, seen = begin()
    send(connection, *message)
    refused(connection, seen, name)

# A flood of messages before the login is read and forgotten, or ends the connection.
connection = transport()
for _ in range(20_000):
    if not connection.is_active():
        break
    send(connection, b"\x02", text(b"x" * 100))
assert_idle("after a flood")
connection.close()

logged_in().close()
print("done")
