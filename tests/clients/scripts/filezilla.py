"""FileZilla's SFTP engine, `fzsftp`, driven as FileZilla drives it.

FileZilla itself needs a screen. All that it says to a server, it says through this program: commands
on its standard input, events on its standard output (one character for the kind, then lines), file
contents in shared memory. Each argument is one command; the outcome of each is printed as one line
of JSON: `ok`, the replies, and the names of a listing.
"""

import json
import mmap
import os
import subprocess
import sys

TOLD = json.load(sys.stdin)

SHARED = 1 << 20
# The kinds of events, in the order in which fzsftp numbers them from '0' on (its protocol 11).
KINDS = (
    "reply done error verbose info status recv send entry ask_key ask_changed ask_better "
    "ask_password transfer preamble instruction quota_recv quota_send kex kex_hash curve "
    "cipher_out cipher_in mac_out mac_in host_key size open next finish"
).split()
LINES = {"entry": 3, "ask_key": 2, "ask_changed": 2, "ask_better": 2}
LINES.update({"quota_recv": 0, "quota_send": 0, "size": 0})


class Engine:
    def __init__(self):
        self.shared = os.memfd_create("fzsftp", 0)
        os.ftruncate(self.shared, SHARED)
        self.memory = mmap.mmap(self.shared, SHARED)
        home = os.path.join(TOLD["scratch"], "home")
        os.makedirs(home, exist_ok=True)
        self.child = subprocess.Popen(
            ["/usr/bin/fzsftp", "-v"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self.shared],
            env={"HOME": home, "PATH": "/usr/bin:/bin"},
        )
        self.file = None
        started = self.outcome("")
        assert "protocol_version=11" in started["replies"][0], started

    def say(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def event(self):
        kind = self.child.stdout.read(1)
        assert kind, "fzsftp ended"
        kind = KINDS[kind[0] - ord("0")]
        lines = LINES.get(kind, 1)
        return kind, [self.child.stdout.readline().decode().rstrip("\r\n") for _ in range(lines)]

    def do(self, command):
        """One command to its end, which is a reply or `done`."""
        self.say(command)
        return self.outcome(command)

    def outcome(self, command):
        told = {"command": command, "ok": False, "replies": [], "errors": [], "names": []}
        while True:
            kind, lines = self.event()
            if kind == "reply":
                told["replies"].append(lines[0])
                told["ok"] = True
                break
            if kind == "done":
                told["ok"] = lines[0] == "1"
                break
            if kind == "error":
                told["errors"].append(lines[0])
            elif kind == "entry":
                told["names"].append(lines[2])
            else:
                self.answer(command, kind, lines)
        if self.file:
            self.file.close()
            self.file = None
        return told

    def answer(self, command, kind, lines):
        """What FileZilla answers while a command lasts."""
        if kind in ("quota_recv", "quota_send"):
            self.say("-0-" if kind == "quota_recv" else "-1-")
        elif kind in ("ask_key", "ask_changed"):
            assert kind == "ask_key", lines
            self.say("y")
        elif kind == "ask_password":
            self.say(TOLD["password"] + (TOLD["code"] or ""))
        elif kind == "open":
            self.open(command, int(lines[0]))
        elif kind == "size":
            self.say(f"-{os.fstat(self.file.fileno()).st_size}")
        elif kind == "next":
            self.next(int(lines[0]))
        elif kind == "finish":
            self.file.write(self.memory[: int(lines[0])])
            self.say("-1")

    def open(self, command, at):
        verb, first, second = command.replace('"', "").split(" ")
        if verb.endswith("put"):
            self.file = open(first, "rb")
        else:
            self.file = open(second, "ab" if verb == "reget" else "wb")
            at = self.file.tell()
        if verb.endswith("put"):
            self.file.seek(at)
        self.say(f"-{self.shared} {SHARED} {at}")

    def next(self, written):
        if self.file.readable():
            data = self.file.read(SHARED)
            self.memory[: len(data)] = data
            self.say(f"-0 {len(data)}" if data else "-")
        else:
            self.file.write(self.memory[:written])
            self.say(f"-0 {SHARED}")


engine = Engine()
commands = sys.argv[1:]
if TOLD["key_file"]:
    commands.insert(0, f'keyfile "{TOLD["key_file"]}"')
    commands.insert(1, f'open "{TOLD["user"]}@{TOLD["host"]}" {TOLD["port"]}')
else:
    commands.insert(0, f'open "{TOLD["user"]}@{TOLD["host"]}" {TOLD["port"]}')
for command in commands:
    print(json.dumps(engine.do(command)), flush=True)
engine.child.kill()
engine.child.wait()
