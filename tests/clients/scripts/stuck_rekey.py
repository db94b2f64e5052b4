"""A client that begins a key change and then says nothing more (rule C5)."""

import os
import socket
import time

import paramiko

from common import TOLD, logged_in

connection = logged_in()
sftp = paramiko.SFTPClient.from_transport(connection)
sftp.listdir("/")
sock = connection.sock
# The reading thread stops at the server's answer: nothing of the exchange goes on.
paramiko.Transport._handler_table = dict(paramiko.Transport._handler_table)
paramiko.Transport._handler_table[paramiko.common.MSG_KEXINIT] = (
    lambda *_: time.sleep(3600)
)
connection._send_kex_init()
time.sleep(0.5)
open(os.path.join(TOLD["scratch"], "stuck"), "w").close()
end = time.time() + 20
while time.time() < end:
    try:
        if sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
            break
    except BlockingIOError:
        pass
    except OSError:
        break
    time.sleep(0.02)
else:
    raise AssertionError("the socket stayed open")
print("done", flush=True)
os._exit(0)
