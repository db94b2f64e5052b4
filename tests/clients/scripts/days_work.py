"""A day's work with paramiko's SFTPClient; every step is checked."""

import hashlib
import os
import stat

import paramiko

from common import TOLD, logged_in

connection = logged_in()
sftp = paramiko.SFTPClient.from_transport(connection)
folder = TOLD["folder"]
sftp.chdir(folder)
assert sftp.getcwd() == folder, sftp.getcwd()

data = os.urandom(1_500_000)
with sftp.open("f", "wb") as file:
    file.set_pipelined(True)
    file.write(data)
assert sftp.stat("f").st_size == len(data)
with sftp.open("f", "rb") as file:
    file.prefetch()
    assert file.read() == data

with sftp.open("f", "rb") as file:
    parts = file.readv([(0, 10), (1_000_000, 70_000), (5, 1)])
    assert list(parts) == [data[0:10], data[1_000_000:1_070_000], data[5:6]]

with sftp.open("f", "rb") as file:
    assert file.check("sha256") == hashlib.sha256(data).digest()
    blocks = [data[at : min(at + 512, 1010)] for at in range(10, 1010, 512)]
    expected = b"".join(hashlib.md5(block).digest() for block in blocks)
    assert file.check("md5", 10, 1000, 512) == expected

with sftp.open("f", "ab") as file:
    file.write(b"tail")
assert sftp.stat("f").st_size == len(data) + 4

sftp.mkdir("d")
assert stat.S_ISDIR(sftp.stat("d").st_mode)
sftp.rename("f", "d/g")
sftp.utime("d/g", (1_000_000_000, 1_000_000_001))
assert sftp.stat("d/g").st_mtime == 1_000_000_001
sftp.truncate("d/g", 100)
assert sftp.stat("d/g").st_size == 100
assert sftp.listdir("d") == ["g"]
with sftp.open("d/h", "wx") as file:
    file.write(b"x")
try:
    sftp.open("d/h", "wx")
    raise AssertionError("an exclusive open replaced a file")
except IOError:
    pass
sftp.posix_rename("d/h", "d/g")
assert sftp.open("d/g").read() == b"x"
for call in (lambda: sftp.symlink("g", "d/link"), lambda: sftp.readlink("d/g")):
    try:
        call()
        raise AssertionError("a link request was accepted")
    except IOError:
        pass
try:
    sftp.stat("d/missing")
    raise AssertionError("a missing file was found")
except FileNotFoundError:
    pass
sftp.remove("d/g")
sftp.rmdir("d")
assert sftp.listdir(".") == [], sftp.listdir(".")
assert sftp.normalize("../..") == "/"
connection.close()
print("done")
