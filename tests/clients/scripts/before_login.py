"""Channel messages before any login: not one of them is answered as if there were a session.

Each argument is a type of SFTP packet, or `exec` for a transfer of the old protocol of scp.
"""

import struct
import sys
import time

import paramiko
from paramiko.message import Message

from common import transport

ANSWERS = set(range(80, 128))

for kind in sys.argv[1:]:
    connection = transport()
    seen = []
    read = connection.packetizer.read_message

    def spy(read=read, seen=seen):
        kind_of, message = read()
        seen.append(kind_of)
        return kind_of, message

    connection.packetizer.read_message = spy
    opening = Message()
    opening.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
    opening.add_string("session")
    for number in (0, 1 << 20, 1 << 15):
        opening.add_int(number)
    subsystem = Message()
    subsystem.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    subsystem.add_int(0)
    old = kind == "exec"
    subsystem.add_string("exec" if old else "subsystem")
    subsystem.add_boolean(True)
    subsystem.add_string("scp -f /" if old else "sftp")
    body = struct.pack(">I", 1) + struct.pack(">I", 1) + b"/" + struct.pack(">II", 1, 0)
    packet = Message()
    packet.add_byte(paramiko.common.cMSG_CHANNEL_DATA)
    packet.add_int(0)
    packet.add_string(b"\0" if old else struct.pack(">IB", len(body) + 1, int(kind)) + body)
    for message in (opening, subsystem, packet):
        try:
            connection._send_message(message)
        except (EOFError, OSError, paramiko.SSHException):
            break
    time.sleep(0.3)
    assert not ANSWERS & set(seen), f"packet {kind} was answered with {seen}"
    assert not connection.is_authenticated()
    connection.close()
print("done")
