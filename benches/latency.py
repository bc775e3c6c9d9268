#!/usr/bin/env python3
"""How long an alert takes, from the record's way out of its sender to the alert's arrival at an HTTP
server: alone, and beside a flood on another source of the same pipeline.

    benches/latency.py [PROGRAM] [SAMPLES]

PROGRAM is target/release/azud without it. The flood is sent over TCP as fast as it is taken, by a
process of its own. Prints median, 99th percentile and maximum, and how many lines of the flood were
delivered meanwhile.
"""

import http.server
import json
import multiprocessing
import os
import queue
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

DOCUMENT = """
data_dir = "{folder}/data"
api.address = "127.0.0.1:{api}"
[sources.flood]
type = "syslog"
mode = "tcp"
address = "127.0.0.1:{flood}"
[sources.quiet]
type = "syslog"
mode = "tcp"
address = "127.0.0.1:{quiet}"
[transforms.shape]
type = "remap"
inputs = ["flood"]
source = '.odd = .procid == 1'
[transforms.told]
type = "alert"
inputs = ["quiet"]
rule = "latency"
severity = "high"
title = "{{{{ procid }}}}"
[sinks.out]
type = "file"
inputs = ["shape"]
path = "/dev/null"
[sinks.far]
type = "http"
inputs = ["told"]
uri = "http://127.0.0.1:{receiver}/"
framing.method = "newline_delimited"
encoding.only_fields = ["title"]
batch.timeout_secs = 0.01
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def receiver(arrived):
    """Starts an HTTP server that notes when each alert came."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            now = time.perf_counter()
            for line in body.splitlines():
                arrived.put((int(json.loads(line)["title"]), now))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def flood(port):
    line = b"<13>1 2026-03-01T10:00:00Z host app 1 - - " + b"x" * 200 + b"\n"
    with socket.create_connection(("127.0.0.1", port)) as sender:
        while True:
            sender.sendall(line * 500)


def delivered(api):
    with socket.create_connection(("127.0.0.1", api)) as asked:
        asked.sendall(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        text = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
    wanted = [line for line in text.splitlines()
              if line.startswith("azud_component_sent_events_total") and 'id="out"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in wanted)


def measure(name, sender, arrived, samples, first, api):
    times, before, start = [], delivered(api), time.perf_counter()
    for number in range(first, first + samples):
        sent = time.perf_counter()
        sender.sendall(b"<13>1 - host app %d - - record\n" % number)
        found, at = arrived.get(timeout=60)
        assert found == number, f"{found} came for {number}"
        times.append((at - sent) * 1000)
        # Not in step with the epochs.
        time.sleep(0.02 + 0.0007 * (number % 31))
    rate = (delivered(api) - before) / (time.perf_counter() - start)
    times.sort()
    print(f"{name}: median {statistics.median(times):.1f} ms, p99 "
          f"{times[int(0.99 * (len(times) - 1))]:.1f} ms, at most {times[-1]:.1f} ms "
          f"({samples} alerts; {rate:,.0f} lines of the flood a second)")


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "target/release/azud"
    samples = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    arrived = queue.Queue()
    ports = {name: free_port() for name in ("api", "flood", "quiet")}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "azud.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(DOCUMENT.format(folder=folder, receiver=receiver(arrived), **ports))
        azud = subprocess.Popen([program, "run", path], stderr=subprocess.PIPE, text=True)
        for line in azud.stderr:
            if "is ready" in line:
                break
        threading.Thread(target=lambda: list(azud.stderr), daemon=True).start()
        with socket.create_connection(("127.0.0.1", ports["quiet"])) as sender:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            measure("warm-up", sender, arrived, 50, 0, ports["api"])
            measure("idle", sender, arrived, samples, 50, ports["api"])
            flooding = multiprocessing.Process(target=flood, args=(ports["flood"],), daemon=True)
            flooding.start()
            time.sleep(3)
            measure("beside a flood", sender, arrived, samples, 50 + samples, ports["api"])
            flooding.kill()
        azud.send_signal(signal.SIGKILL)
        azud.wait()


if __name__ == "__main__":
    main()
