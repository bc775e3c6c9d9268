#!/usr/bin/env python3
"""How long a start takes after `kill -9`.

    benches/recovery.py [PROGRAM] [MEBIBYTES] [KEYS]

First with so many MiB of log behind the newest checkpoint (1,024): until the program is ready, and
until all of it is repeated and delivered. Then with so many keys (1,000,000) in one window, all in a
checkpoint: until it is ready, and how much memory a key takes. PROGRAM is target/release/azud.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

HEAD = """
data_dir = "{folder}/data"
api.address = "127.0.0.1:{api}"
intake.max_bytes = "8GiB"
checkpoint.interval = "{interval}"
[sources.in]
type = "socket"
mode = "tcp"
address = "127.0.0.1:{port}"
decoding.codec = "json"
"""

LOG = HEAD + """
[sinks.out]
type = "blackhole"
inputs = ["in"]
"""

KEYS = HEAD + """
event_time = ".at"
[transforms.count]
type = "summarize"
inputs = ["in"]
group_by = ["key"]
max_keys = {keys}
max_bytes = "8GiB"
window = {{ type = "tumbling", size = "1d" }}
fields.records = {{ aggregate = "count" }}
[sinks.out]
type = "blackhole"
inputs = ["count"]
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Azud:
    """A running program, and how long it took to be ready."""

    def __init__(self, program, path, api):
        begun = time.perf_counter()
        self.api, self.begun = api, begun
        self.process = subprocess.Popen([program, "run", path], stderr=subprocess.PIPE, text=True)
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "is ready" in line:
                break
        else:
            sys.exit("".join(said))
        self.ready = time.perf_counter() - begun
        threading.Thread(target=lambda: list(self.process.stderr), daemon=True).start()

    def metric(self, name, having=""):
        with socket.create_connection(("127.0.0.1", self.api)) as asked:
            asked.sendall(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            text = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
        lines = [line for line in text.splitlines() if line.startswith(name) and having in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wait(self, holds):
        while not holds():
            assert self.process.poll() is None, "it has ended"
            time.sleep(0.05)

    def memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def kill(self):
        self.process.kill()
        self.process.wait()


def send(port, lines):
    with socket.create_connection(("127.0.0.1", port)) as sender:
        batch = []
        for line in lines:
            batch.append(line)
            if len(batch) == 1000:
                sender.sendall("".join(batch).encode())
                batch.clear()
        sender.sendall("".join(batch).encode())


def started(program, folder, document, **values):
    api, port = free_port(), free_port()
    path = os.path.join(folder, "azud.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(document.format(folder=folder, api=api, port=port, **values))
    return Azud(program, path, api), port, path


def log(program, mebibytes):
    line = '{"at":"2026-03-01T10:00:00Z","is":"' + "x" * 460 + '"}\n'
    count = (mebibytes << 20) // len(line)
    with tempfile.TemporaryDirectory() as folder:
        azud, port, path = started(program, folder, LOG, interval="1h")
        send(port, (line for _ in range(count)))
        sent = lambda: azud.metric("azud_component_sent_events_total", 'id="out"')
        azud.wait(lambda: sent() >= count)
        azud.kill()
        azud = Azud(program, path, azud.api)
        azud.wait(lambda: sent() >= count)
        print(f"{mebibytes} MiB of log, {count:,} records: ready after {azud.ready:.2f} s, "
              f"all repeated after {time.perf_counter() - azud.begun:.2f} s")
        azud.kill()


def keys(program, count):
    with tempfile.TemporaryDirectory() as folder:
        azud, port, path = started(program, folder, KEYS, interval="2s", keys=2 * count)
        before = azud.memory()
        send(port, (f'{{"at":"2026-03-01T10:00:00Z","key":"key-{key:010}"}}\n'
                    for key in range(count)))
        azud.wait(lambda: azud.metric("azud_component_received_events_total",
                                      'id="count"') >= count)

        def kept():
            send(port, ['{"at":"2026-03-01T10:00:01Z","key":"key-0000000000"}\n'])
            told = subprocess.run([program, "checkpoint", "inspect", "--format", "json",
                                   "--data-dir", f"{folder}/data"], capture_output=True,
                                  text=True, check=False)
            steps = [step for line in told.stdout.splitlines()
                     for step in json.loads(line).get("steps", [])]
            return sum(step["keys"] or 0 for step in steps) >= count

        azud.wait(kept)
        memory = azud.memory()
        azud.kill()
        azud = Azud(program, path, azud.api)
        print(f"{count:,} keys: {(memory - before) / count:.0f} bytes of memory each; ready after "
              f"{azud.ready:.2f} s, then {azud.memory() >> 20} MiB")
        azud.kill()


def main():
    given = sys.argv[1:] + [None] * 3
    program = given[0] or "target/release/azud"
    log(program, int(given[1] or 1024))
    keys(program, int(given[2] or 1_000_000))


if __name__ == "__main__":
    main()
