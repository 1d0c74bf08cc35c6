"""Requests per second and p99 of the two busiest endpoints: our Serve settings, Serve's defaults, bare uvicorn."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform, until

BODY = json.dumps(
    {
        "tool_name": "bench",
        "parameters": [
            {"name": "a", "minimum": 0, "maximum": 1},
            {"name": "b", "type": "int", "minimum": 1, "maximum": 9},
        ],
        "command_template_string": "sleep ${a}",
    }
).encode()
SECONDS, CONNECTIONS = 6.0, 32
closed: list[str] = []


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        with uvicorn(Path(folder) / "uvicorn") as url:
            found["uvicorn, 1 process"] = measure(url)
        with Platform(Path(folder) / "ours") as platform:
            found["ours on Serve"] = measure(platform.url)
        with serve_defaults(Path(folder) / "defaults") as url:
            found["Serve's defaults"] = measure(url)
    ours = found["ours on Serve"]
    print(f"\n{CONNECTIONS} connections, {SECONDS:.0f} s each, load from this machine's own cores")
    for name, endpoints in found.items():
        for endpoint, (rate, p50, p99) in endpoints.items():
            ratio = ours[endpoint][0] / rate
            print(
                f"  {name:20} {endpoint:26} {rate:7.0f}/s  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  ours/this {ratio:5.2f}"
            )
    print(f"  connections that a server closed: {len(closed)}", *sorted(set(closed))[:3], sep="\n    ")
    print("  targets: at least 0.5 of uvicorn, at least 3 times Serve's defaults")


def measure(url: str) -> dict[str, tuple[float, float, float]]:
    made = httpx2.post(f"{url}/api/v1/experiments", content=BODY, headers={"content-type": "application/json"})
    path = f"/api/v1/experiments/{made.json()['id']}"
    asyncio.run(load(url, request("GET", path), 1.0))
    return {
        "GET experiments/{id}": asyncio.run(load(url, request("GET", path), SECONDS)),
        "POST experiments": asyncio.run(load(url, request("POST", "/api/v1/experiments", BODY), SECONDS)),
    }


def request(method: str, path: str, body: bytes = b"") -> bytes:
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{method} {path} HTTP/1.1\r\n{headers}".encode() + body


async def load(url: str, message: bytes, seconds: float) -> tuple[float, float, float]:
    """(requests/s, p50 in ms, p99 in ms) over keep-alive connections."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    await asyncio.gather(*(connection(url, message, end, times) for _ in range(CONNECTIONS)))
    times.sort()
    return len(times) / seconds, statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000


async def connection(url: str, message: bytes, end: float, times: list[float]) -> None:
    """One client: requests over one connection, and over a new one when the server closes it between two of them."""
    host, port = url.removeprefix("http://").split(":")
    while time.perf_counter() < end:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            while (began := time.perf_counter()) < end:
                writer.write(message)
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 20" in head[:13], head
                length = re.search(rb"content-length: *([0-9]+)", head.lower())
                assert length, head
                await reader.readexactly(int(length.group(1)))
                times.append(time.perf_counter() - began)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            closed.append(f"{url}: {error!r}")
        finally:
            writer.close()


@contextmanager
def uvicorn(data_dir: Path) -> Iterator[str]:
    """The same application under bare uvicorn, with its own SQLite."""
    code = (
        "import sys, uvicorn; from serve_app.app import build; from tunesmith.settings import load_settings; "
        "from tunesmith.store import open_store; s = load_settings(); t = open_store(s.database); t.upgrade(); "
        "uvicorn.run(build(s), port=s.port, log_level='warning', access_log=False)"
    )
    with python(["-c", code], data_dir, 18431) as url:
        yield url


@contextmanager
def serve_defaults(data_dir: Path) -> Iterator[str]:
    """The same deployment with none of our Serve settings."""
    code = (
        "import os, time; from tunesmith.settings import load_settings; from tunesmith.store import open_store; "
        "s = load_settings(); t = open_store(s.database); t.upgrade(); t.close(); import ray; from ray import serve; "
        "ray.init(address='local', include_dashboard=False, log_to_driver=False); "
        "from ray.serve.config import HTTPOptions; serve.start(http_options=HTTPOptions(port=s.port)); "
        "from serve_app.app import build\n"
        "@serve.deployment(num_replicas=2, ray_actor_options={'num_cpus': 0})\n"
        "@serve.ingress(lambda: build(load_settings()))\n"
        "class Plain: pass\n"
        "serve.run(Plain.bind()); time.sleep(10000)"
    )
    with python(["-c", code], data_dir, 18432) as url:
        yield url


@contextmanager
def python(arguments: list[str], data_dir: Path, port: int) -> Iterator[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
    environ |= {"TUNESMITH_DATA_DIR": str(data_dir), "TUNESMITH_PORT": str(port), "RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx2.get(f"{url}/health", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        until(answers, 120, 0.3)
        yield url
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
