"""Rule L4: keyboard-interactive asks for the password, then for the code."""

from common import TOLD, transport

asked = []


def answer(_title, _instructions, prompts):
    asked.extend(prompt for prompt, _echo in prompts)
    replies = []
    for prompt, _echo in prompts:
        replies.append(TOLD["code"] if "ode" in prompt else TOLD["password"])
    return replies


connection = transport()
connection.auth_interactive(TOLD["user"], answer)
assert connection.is_authenticated()
assert asked == ["Password: ", "Code: "], asked
connection.close()
print("done")
