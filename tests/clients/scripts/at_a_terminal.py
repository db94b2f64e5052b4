"""Runs a client at a terminal of its own, and types each answer after the prompt that it waits for.

Reads {"command": [...], "answers": [[prompt, text], ...]}; prints what the terminal showed, and ends
with the client's own status.
"""

import json
import os
import pty
import select
import sys
import time

SECONDS = 60

told = json.load(sys.stdin)
child, terminal = pty.fork()
if child == 0:
    os.execv(told["command"][0], told["command"])

shown = ""
typed = 0
answers = list(told["answers"])
end = time.time() + SECONDS
while time.time() < end:
    if not select.select([terminal], [], [], 0.2)[0]:
        continue
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part.decode(errors="replace")
    if answers and shown[typed:].endswith(answers[0][0]):
        typed = len(shown)
        os.write(terminal, answers.pop(0)[1].encode() + b"\n")
else:
    os.kill(child, 9)
print(shown)
print("unasked:", [prompt for prompt, _ in answers])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
