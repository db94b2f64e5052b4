"""Messages of SSH channels that well-behaved clients never send, after a login."""

import time

from common import assert_idle, ends, listen, logged_in, number, send, text, wait_for

OPEN_CONFIRMATION, OPEN_FAILURE, SUCCESS, FAILURE = 91, 92, 99, 100


def begin():
    connection = logged_in()
    seen = listen(connection)
    # The client waits for the next message as before; only later ones are seen.
    for _ in range(2):
        send(connection, b"\x50", text("still@example.com"), b"\x01")
    assert wait_for(lambda: 82 in kinds(seen)), kinds(seen)
    seen.clear()
    return connection, seen


def kinds(seen):
    return [kind for kind, _ in seen]


# ProFTPD 2242: channels whose client takes packets of 0 bytes or 1 byte are not opened.
held = []
for maximum in (0, 1):
    connection, seen = begin()
    send(connection, b"\x5a", text("session"), number(7, 1 << 20, maximum))
    send(connection, b"\x62", number(0), text("subsystem"), b"\x01", text("sftp"))
    send(connection, b"\x5e", number(0), text(number(5) + b"\x01" + number(3)))
    assert wait_for(lambda: OPEN_FAILURE in kinds(seen) or not connection.is_active()), kinds(seen)
    assert OPEN_CONFIRMATION not in kinds(seen)
    held.append(connection)
# Where the window is used up the answers wait, and nobody works meanwhile.
connection, seen = begin()
send(connection, b"\x5a", text("session"), number(7, 1024, 1 << 15))
assert wait_for(lambda: OPEN_CONFIRMATION in kinds(seen)), kinds(seen)
send(connection, b"\x62", number(0), text("subsystem"), b"\x01", text("sftp"))
send(connection, b"\x5e", number(0), text(number(5) + b"\x01" + number(3)))
for at in range(100):
    send(connection, b"\x5e", number(0), text(number(10) + b"\x10" + number(at, 1) + b"/"))
held.append(connection)
assert_idle("channels that take nothing")
for connection in held:
    connection.close()

# GHSA-q7pc-356p-hggc: requests whose fields are cut short, of every known type and others.
# GHSA-cqjc-rmpq-xprq: terminals with more modes than there are.
modes = b"".join(bytes([1 + at % 120]) + number(at) for at in range(1000))
requests = [
    b"\x62" + number(0) + text(kind) + b"\x01" + (b"\0" * cut if fill else b"\xff" * cut)
    for kind in ("subsystem", "pty-req", "exec", "env", "x11-req", "window-change", "signal", "")
    for cut in range(9)
    for fill in (True, False)
]
requests += [b"\x62" + number(0) + b"\xff" * cut for cut in range(9)]
requests += [
    b"\x62" + number(0) + text("s" * 30_000) + b"\x01",
    b"\x62" + number(0) + text("subsystem") + b"\x01" + text("s" * 30_000),
    b"\x62" + number(0) + text("subsystem") + b"\x01" + text(b"sftp\0"),
    b"\x62" + number(0) + text("subsystem") + b"\x01" + text(b"\xff\xfe"),
]
requests += [
    b"\x62" + number(0) + text("pty-req") + b"\x01" + text("xterm") + number(80, 24, 0, 0) + end
    for end in (text(modes), text(modes[:-3]), text(b"\xa0" * 500), number(0xFFFFFFFF), text(b"\x80"))
]
connection, seen = begin()
connection.open_session()
for request in requests:
    if not connection.is_active():
        connection, seen = begin()
        connection.open_session()
    seen.clear()
    send(connection, request)
    # Something that is always answered tells that the one before was dealt with.
    send(connection, b"\x50", text("still@example.com"), b"\x01")
    assert wait_for(lambda: kinds(seen)[-1:] in ([81], [82]) or not connection.is_active()), request
    assert SUCCESS not in kinds(seen) or b"pty-req" in request or b"env" in request, request[:40]
connection.close()

# Openings and requests of the connection, cut short and of other kinds.
for message in (
    *(b"\x5a" + b"\xff" * cut for cut in range(9)),
    *(b"\x5a" + text("session") + b"\0" * cut for cut in range(9)),
    b"\x5a" + text("x" * 30_000) + number(1, 1 << 20, 1 << 15),
    b"\x5a" + text("x11") + number(1, 1 << 20, 1 << 15) + text("::1") + number(22),
    b"\x5a" + text("direct-tcpip") + number(1, 1 << 20, 1 << 15) + text("::1") + number(22),
    *(b"\x50" + text("tcpip-forward") + b"\x01" + b"\xff" * cut for cut in range(9)),
    b"\x50" + text("x" * 30_000) + b"\x01",
    b"\x50" + number(0xFFFFFFFF),
    b"",
):
    connection, seen = begin()
    if message:
        send(connection, message)
    send(connection, b"\x50", text("still@example.com"), b"\x01")
    assert wait_for(lambda: {81, 82} & set(kinds(seen)) or not connection.is_active()), message[:40]
    assert not {OPEN_CONFIRMATION, 81} & set(kinds(seen)), (message[:40], kinds(seen))
    connection.close()

# Channels that do not exist.
for which in (0, 1, 99, 0xFFFFFFFF):
    for message in (
        b"\x5d" + number(which, 0xFFFFFFFF),
        b"\x5e" + number(which) + text("x"),
        b"\x5f" + number(which, 1) + text("x"),
        b"\x60" + number(which),
        b"\x61" + number(which),
        b"\x62" + number(which) + text("subsystem") + b"\x01" + text("sftp"),
        b"\x5b" + number(which, 0, 1 << 20, 1 << 15),
        b"\x63" + number(which),
    ):
        connection, seen = begin()
        send(connection, message)
        time.sleep(0.02)
        assert SUCCESS not in kinds(seen), (which, message[:1])
        connection.close()

# Windows that overflow, and far more data than the window that was granted.
connection, seen = begin()
connection.open_session()
for _ in range(5):
    send(connection, b"\x5d", number(0, 0xFFFFFFFF))
assert_idle("windows that overflow")
connection.close()
for subsystem in (False, True):
    connection, seen = begin()
    connection.open_session()
    if subsystem:
        send(connection, b"\x62", number(0), text("subsystem"), b"\x01", text("sftp"))
    for _ in range(2048):
        if not connection.is_active():
            break
        send(connection, b"\x5e", number(0), text(b"\0" * 32_000))
    assert_idle("data beyond the window")
    connection.close()

# Packets as large as the standard lets a client send are read; larger ones end the connection.
connection, seen = begin()
send(connection, b"\x02", text(b"x" * 32_000))
send(connection, b"\x50", text("still@example.com"), b"\x01")
assert wait_for(lambda: 82 in kinds(seen)), kinds(seen)
send(connection, b"\x02", text(b"x" * 300_000))
assert ends(connection), "a packet of 300,000 bytes"
connection.close()

# Data cut short, of 4 GiB, and of an unknown kind.
for message in (
    b"\x5e" + number(0, 0xFFFFFFFF) + b"x",
    b"\x5e" + number(0)[:3],
    b"\x5f" + number(0, 99) + text("x"),
    b"\x5f" + number(0),
):
    connection, seen = begin()
    connection.open_session()
    send(connection, message)
    time.sleep(0.1)
    connection.close()
assert_idle("at the end")

logged_in().close()
print("done")
