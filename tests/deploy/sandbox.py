"""Runs a program as the unit and the image confine it: sandbox.py CALLS DATA PROGRAM ARGUMENT...

As an ordinary user where this one is root; on a tree that only DATA can be written in; with no
system call but those of the file CALLS, the others answered with EPERM; with no way to more rights.
"""

import ctypes
import os
import struct
import sys

NEW_MOUNTS, BIND, PRIVATE = 0x20000, 0x1000, 0x4000 | 0x40000
SYS_MOUNT_SETATTR, HERE, RECURSIVE, READ_ONLY = 442, -100, 0x8000, 1
ALLOW, REFUSE_WITH_EPERM = 0x7FFF0000, 0x00050001

libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno() or -result)}")


def set_read_only(path, on):
    attributes = struct.pack("=4Q", READ_ONLY * on, READ_ONLY * (not on), 0, 0)
    arguments = (HERE, path.encode(), RECURSIVE, attributes, len(attributes))
    must(libc.syscall(SYS_MOUNT_SETATTR, *arguments), f"mount_setattr {path}")


def confine_the_tree(data):
    must(libc.unshare(NEW_MOUNTS), "unshare")
    must(libc.mount(None, b"/", None, PRIVATE, None), "mount /")
    must(libc.mount(data.encode(), data.encode(), None, BIND, None), f"mount {data}")
    set_read_only("/", True)
    set_read_only(data, False)
    os.chdir(data)


def become_ordinary(data, user=65534):
    with open("/proc/self/uid_map") as file:
        ids = int(file.read().split()[2])
    if ids <= user:
        # A namespace of one user, who is an ordinary one outside.
        return
    for folder, _, files in os.walk(data):
        for path in [folder] + [os.path.join(folder, name) for name in files]:
            os.chown(path, user, user, follow_symlinks=False)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def confine_the_calls(names):
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(REFUSE_WITH_EPERM))
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            must(library.seccomp_rule_add(rules, ALLOW, number, 0), name)
    must(library.seccomp_load(rules), "seccomp_load")


calls, data, program = sys.argv[1], sys.argv[2], sys.argv[3:]
with open(calls) as file:
    allowed = file.read().split()
confine_the_tree(data)
become_ordinary(data)
confine_the_calls(allowed)
os.execv(program[0], program)
