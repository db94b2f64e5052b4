"""A day's work with asyncssh: many requests at once, recursion, resume; every step is checked."""

import asyncio
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

import asyncssh

TOLD = json.load(sys.stdin)


def tree(top):
    """All files below a folder, with what they hold."""
    found = {}
    for place, _, names in os.walk(top):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found


async def work(sftp, folder, scratch):
    await sftp.chdir(folder)
    assert await sftp.getcwd() == folder
    local = os.path.join(scratch, "tree")
    os.makedirs(os.path.join(local, "sub", "ä"))
    for name in ("a", "sub/b", "sub/ä/c"):
        with open(os.path.join(local, name), "wb") as file:
            file.write(os.urandom(700_000))
    await sftp.put(local, "there", recurse=True, preserve=True, max_requests=256)
    await sftp.get("there", os.path.join(scratch, "back"), recurse=True, max_requests=256)
    assert tree(local) == tree(os.path.join(scratch, "back"))
    assert sorted(await sftp.listdir("there")) == [".", "..", "a", "sub"] or sorted(
        await sftp.listdir("there")
    ) == ["a", "sub"]

    # asyncssh has no resume of its own; its files can be read and written from any place.
    data = tree(local)["a"]
    async with sftp.open("part", "wb") as file:
        await file.write(data[:300_001])
    async with sftp.open("part", "ab") as file:
        await file.write(data[300_001:])
    async with sftp.open("part", "rb") as file:
        await file.seek(300_001)
        assert await file.read() == data[300_001:]
    assert (await sftp.stat("part")).size == len(data)

    await sftp.rename("part", "there/moved")
    await sftp.utime("there/moved", (1_000_000_000, 1_000_000_001))
    assert (await sftp.stat("there/moved")).mtime == 1_000_000_001
    await sftp.truncate("there/moved", 10)
    assert (await sftp.stat("there/moved")).size == 10
    assert (await sftp.statvfs(".")).bsize > 0
    for refused in (sftp.symlink("a", "there/link"), sftp.readlink("there/a")):
        try:
            await refused
            raise AssertionError("a link request was accepted")
        except asyncssh.SFTPError:
            pass
    try:
        await sftp.stat("missing")
        raise AssertionError("a missing file was found")
    except asyncssh.SFTPNoSuchFile:
        pass
    await sftp.rmtree("there")
    assert not await sftp.exists("there")


async def main():
    connection = await asyncssh.connect(
        TOLD["host"],
        TOLD["port"],
        username=TOLD["user"],
        client_keys=[TOLD["key_file"]],
        known_hosts=os.path.join(os.path.dirname(TOLD["scratch"]), "known_hosts"),
        config=None,
        agent_path=None,
    )
    async with connection:
        async with connection.start_sftp_client() as sftp:
            await work(sftp, TOLD["folder"], TOLD["scratch"])
        told = await connection.run("ls")
        assert told.exit_status != 0
        assert "this gateway speaks SFTP only" in told.stderr, told.stderr


asyncio.run(main())
print("done")
