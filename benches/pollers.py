#!/usr/bin/env python3
"""What it takes to poll many APIs: CPU, memory, and how late polls are.

    benches/pollers.py [PROGRAM] [CONNECTORS] [INTERVAL] [SECONDS]

PROGRAM is target/release/azud without it; 500 connectors are polled every 10 s for 120 s. Each is a
source of its own with a cursor, and gets ten records of 200 bytes at every poll from a server that
answers at once. After three intervals, in which all have begun, it is measured: CPU of the process,
its greatest memory, how much later than its interval behind the one before each poll came (median,
99th percentile, maximum), and that every record that was given came out once.
"""

import asyncio
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HEAD = """
data_dir = "{folder}/data"
api.address = "127.0.0.1:{api}"
[sinks.out]
type = "file"
inputs = ["api_*"]
path = "{folder}/out.jsonl"
encoding = {{ codec = "json", only_fields = ["id"] }}
"""

SOURCE = """
[sources.api_{number}]
type = "http_client"
endpoint = "http://127.0.0.1:{server}/{number}"
scrape_interval_secs = {interval}
decoding.codec = "json"
cursor = {{ value = "max", field = ".id", param = "since" }}
"""

RECORDS = 10


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    """Answers every request with records that are new, and notes when it came."""

    def __init__(self, connectors):
        self.came = [[] for _ in range(connectors)]
        self.given = 0

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                path = line.split()[1].decode()
                while (await reader.readline()).strip():
                    pass
                number = int(path.lstrip("/").split("?")[0])
                self.came[number].append(time.monotonic())
                records = []
                for _ in range(RECORDS):
                    self.given += 1
                    records.append({"id": self.given, "text": "x" * 180})
                body = json.dumps(records).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def measure(program, connectors, interval, seconds):
    server = Server(connectors)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        document = HEAD.format(folder=folder, api=free_port())
        for number in range(connectors):
            document += SOURCE.format(number=number, server=port, interval=interval)
        path = pathlib.Path(folder, "azud.toml")
        path.write_text(document)
        log = open(pathlib.Path(folder, "log"), "w")
        process = subprocess.Popen([program, "run", "-c", path], stdout=log, stderr=log)
        try:
            await asyncio.sleep(3 * interval)
            if process.poll() is not None:
                sys.exit(pathlib.Path(folder, "log").read_text())
            begun, cpu = time.monotonic(), cpu_seconds(process.pid)
            await asyncio.sleep(seconds)
            took, cpu = time.monotonic() - begun, cpu_seconds(process.pid) - cpu
            peak = peak_mib(process.pid)
            polls = sum(1 for came in server.came for at in came if at >= begun)
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 60)
        out = [json.loads(line)["id"] for line in open(pathlib.Path(folder, "out.jsonl"))]
    late = []
    for came in server.came:
        late += [after - before - interval for before, after in zip(came, came[1:]) if after >= begun]
    late.sort()
    print(f"{connectors} connectors every {interval} s: {polls / took:.1f} polls a second")
    print(f"CPU {100 * cpu / took:.1f} % of a core, {1e3 * cpu / polls:.2f} ms a poll; peak {peak:.0f} MiB")
    print(
        f"late by {1e3 * statistics.median(late):.0f} ms (median), "
        f"{1e3 * late[int(0.99 * len(late))]:.0f} ms (p99), {1e3 * late[-1]:.0f} ms (maximum)"
    )
    print(f"{server.given} records given, {len(out)} came out, {len(set(out))} of them different")


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "target/release/azud"
    connectors, interval, seconds = (
        int(sys.argv[place]) if len(sys.argv) > place else usual
        for place, usual in ((2, 500), (3, 10), (4, 120))
    )
    asyncio.run(measure(program, connectors, interval, seconds))


if __name__ == "__main__":
    main()
