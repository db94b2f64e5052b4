"""Channel messages before any login: nothing is served, the connection ends."""

import struct
import sys
import time

import paramiko
from paramiko.message import Message

from common import transport

for kind in sys.argv[1:]:
    connection = transport()
    opening = Message()
    opening.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
    opening.add_string("session")
    for number in (0, 1 << 20, 1 << 15):
        opening.add_int(number)
    subsystem = Message()
    subsystem.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    subsystem.add_int(0)
    subsystem.add_string("subsystem")
    subsystem.add_boolean(True)
    subsystem.add_string("sftp")
    body = struct.pack(">I", 1) + struct.pack(">I", 1) + b"/" + struct.pack(">II", 1, 0)
    packet = Message()
    packet.add_byte(paramiko.common.cMSG_CHANNEL_DATA)
    packet.add_int(0)
    packet.add_string(struct.pack(">IB", len(body) + 1, int(kind)) + body)
    seen = []
    for message in (opening, subsystem, packet):
        try:
            connection._send_message(message)
        except (EOFError, OSError, paramiko.SSHException):
            seen.append("closed")
    end = time.time() + 10
    while connection.is_active() and time.time() < end:
        time.sleep(0.01)
    assert not connection.is_active(), f"the connection outlived packet {kind}"
    assert not connection.is_authenticated()
print("done")
