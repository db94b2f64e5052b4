"""Rules L4 and L5: asyncssh answers both prompts, and gives both factors in one password."""

import asyncio
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

import asyncssh

TOLD = json.load(sys.stdin)
NEXT_CODE = sys.argv[1]
asked = []


class Prompted(asyncssh.SSHClient):
    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        asked.extend(prompt for prompt, _echo in prompts)
        return [TOLD["code"] if "ode" in prompt else TOLD["password"] for prompt, _ in prompts]


async def log_in(client, **how):
    connection = await asyncssh.connect(
        TOLD["host"],
        TOLD["port"],
        client_factory=client,
        username=TOLD["user"],
        client_keys=None,
        known_hosts=os.path.join(os.path.dirname(TOLD["scratch"]), "known_hosts"),
        config=None,
        agent_path=None,
        **how,
    )
    async with connection:
        async with connection.start_sftp_client() as sftp:
            assert await sftp.listdir("/")


asyncio.run(log_in(Prompted, preferred_auth="keyboard-interactive"))
assert [prompt.strip() for prompt in asked] == ["Password:", "Code:"], asked
both = TOLD["password"] + NEXT_CODE
asyncio.run(log_in(asyncssh.SSHClient, password=both, preferred_auth="password"))
print("done")
