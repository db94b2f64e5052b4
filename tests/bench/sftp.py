"""SFTP rates beside OpenSSH: one machine, alternating rounds, medians. See tests/bench/run."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CIPHERS = (
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
)
USER, PASSWORD = "fgbench", "bench-Pass1"
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    end = time.time() + 10
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port} after 10 s")


def children(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += children(int(child))
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    """User and system time of a process, its children, and those that it has reaped."""
    total = 0
    for one in children(pid):
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / TICK


def pss_kib(pid):
    total = 0
    for one in children(pid):
        try:
            for line in pathlib.Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


class Portcullis:
    name = "portcullis"
    program = HERE / "serve"

    def __init__(self, root, fsync):
        self.port = free_port()
        env = dict(os.environ, FSYNC="close" if fsync else "never")
        self.process = subprocess.Popen(
            [self.program, str(self.port), str(root)], env=env, stdout=subprocess.DEVNULL
        )
        self.folder = "/"
        self.login = ["sshpass", "-p", PASSWORD]
        self.options = ["-oPubkeyAuthentication=no"]
        self.user = USER
        wait_for(self.port)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class AllowsAll(Portcullis):
    """The same wires and storage under a gate that allows all and audits nothing."""

    name = "allows_all"
    program = os.environ.get("BENCH_ALLOW_ALL")


class OpenSsh:
    """sshd as the present user, with a key: password logins would need a system account."""

    name = "openssh"

    def __init__(self, root, fsync):
        del fsync
        self.port = free_port()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-sshd"))
        os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / key], check=True
            )
        config = self.dir / "config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\n"
            f"AuthorizedKeysFile {self.dir}/user.pub\nStrictModes no\nPidFile none\n"
            "PermitRootLogin yes\nUsePAM no\nMaxStartups 1000\nMaxSessions 1000\n"
            "Subsystem sftp internal-sftp\n"
        )
        self.process = subprocess.Popen([shutil.which("sshd"), "-D", "-f", config])
        self.folder = str(root)
        self.login = []
        self.options = ["-oIdentitiesOnly=yes", f"-oIdentityFile={self.dir}/user"]
        self.user = os.environ.get("USER") or subprocess.getoutput("id -un")
        wait_for(self.port)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def client(server, batch, cipher=None, check=True):
    options = ["-F", "none", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
    options += ["-oLogLevel=ERROR", "-oBatchMode=no", *server.options]
    if cipher:
        options.append(f"-oCiphers={cipher}")
    command = [*server.login, "sftp", "-q", *options, "-P", str(server.port), "-b", "-"]
    start = time.perf_counter()
    subprocess.run(
        [*command, f"{server.user}@127.0.0.1"],
        input=batch.encode(),
        stdout=subprocess.DEVNULL,
        check=check,
    )
    return time.perf_counter() - start


def streams(server, data, size, results):
    there = f"{server.folder.rstrip('/')}/big"
    for cipher in CIPHERS:
        for what, batch in (("up", f"put {data} {there}\n"), ("down", f"get {there} /dev/null\n")):
            before = cpu_seconds(server.process.pid)
            took = client(server, batch, cipher)
            cpu = cpu_seconds(server.process.pid) - before
            label = f"{what} {cipher.split('@')[0]}"
            results.setdefault(f"{label} MiB/s", []).append(size / took)
            results.setdefault(f"{label} CPU s/GiB", []).append(cpu * 1024 / size)


def small(server, folder, count, results, label="small"):
    there = server.folder.rstrip("/")
    local = folder / "small"
    local.mkdir(exist_ok=True)
    for index in range(count):
        (local / f"f{index}").write_bytes(b"x" * 4096)
    client(server, f"mkdir {there}/small\n")
    names = [f"f{index}" for index in range(count)]
    idle = client(server, "pwd\n")
    before = cpu_seconds(server.process.pid)
    for what, line in (
        ("up", "put {local}/{name} {there}/small/{name}\n"),
        ("down", "get {there}/small/{name} /dev/null\n"),
        ("delete", "rm {there}/small/{name}\n"),
    ):
        batch = "".join(line.format(local=local, there=there, name=name) for name in names)
        took = client(server, batch) - idle
        results.setdefault(f"{label} {what} files/s", []).append(count / took)
    cpu = cpu_seconds(server.process.pid) - before
    results.setdefault(f"{label} CPU ms/file", []).append(cpu * 1000 / count)
    client(server, f"rmdir {there}/small\n")


def listing(server, root, entries, results):
    many = root / "many"
    if not many.exists():
        many.mkdir()
        for index in range(entries):
            (many / f"entry-{index:05}").touch()
    took = client(server, f"ls -ln {server.folder.rstrip('/')}/many\n")
    results.setdefault(f"list {entries} ms", []).append(took * 1000)


def idle(server, sessions, results):
    before = pss_kib(server.process.pid)
    held = []
    for _ in range(sessions):
        options = ["-F", "none", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
        options += ["-oLogLevel=ERROR", *server.options]
        command = [*server.login, "ssh", *options, "-p", str(server.port), "-s"]
        held.append(
            subprocess.Popen(
                [*command, f"{server.user}@127.0.0.1", "sftp"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
        )
        time.sleep(0.02)
    time.sleep(3)
    results.setdefault("idle session KiB PSS", []).append(
        (pss_kib(server.process.pid) - before) / sessions
    )
    for one in held:
        one.stdin.close()
        one.terminate()
    for one in held:
        one.wait()


def median(values):
    return round(statistics.median(values), 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=512, help="MiB of the large file")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--disk", default="/var/tmp", help="a folder on a disk, for fsync")
    parser.add_argument("--out", required=True)
    told = parser.parse_args()
    memory = pathlib.Path(tempfile.mkdtemp(prefix="bench", dir="/dev/shm"))
    disk = pathlib.Path(tempfile.mkdtemp(prefix="bench", dir=told.disk))
    data = memory / "data.bin"
    data.write_bytes(os.urandom(1 << 20) * told.size)
    results = {"openssh": {}, "portcullis": {}, "allows_all": {}}
    try:
        for number in range(told.rounds):
            order = (OpenSsh, Portcullis) if number % 2 == 0 else (Portcullis, OpenSsh)
            for kind in order:
                root = memory / f"root-{kind.name}"
                root.mkdir(exist_ok=True)
                server = kind(root, fsync=False)
                found = results[kind.name]
                streams(server, data, told.size, found)
                small(server, memory, told.files, found)
                listing(server, root, told.entries, found)
                if number == 0:
                    idle(server, told.sessions, found)
                server.stop()
                shutil.rmtree(root)
            if AllowsAll.program:
                root = memory / "root-allows-all"
                root.mkdir()
                server = AllowsAll(root, fsync=False)
                small(server, memory, told.files, results["allows_all"])
                server.stop()
                shutil.rmtree(root)
        for kind in (Portcullis, OpenSsh):
            root = disk / f"root-{kind.name}"
            root.mkdir()
            server = kind(root, fsync=True)
            small(server, memory, told.files // 2, results[kind.name], "small, fsync on disk,")
            server.stop()
    finally:
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(disk, ignore_errors=True)
    with open(told.out, "w", encoding="utf-8") as out:
        for measure, values in results["openssh"].items():
            ours = median(results["portcullis"][measure])
            theirs = median(values)
            row = {"measure": measure, "portcullis": ours, "openssh": theirs}
            row["ratio"] = round(ours / theirs, 2) if theirs else None
            line = f"{measure:<45} {ours:>10} {theirs:>10} {row['ratio']}"
            if measure in results["allows_all"]:
                free = row["allows_all"] = median(results["allows_all"][measure])
                row["price"] = round(ours / free, 2) if free else None
                line += f", allows all {free} ({row['price']})"
            out.write(json.dumps(row) + "\n")
            print(line)


if __name__ == "__main__":
    main()
