"""Ask and tell over HTTP: pairs a second, how long an ask takes with a long history; OSS Vizier's service beside it.

python bench_asking.py [--no-vizier]     Vizier is installed into a virtual environment of its own, if it can be
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform

from tunesmith import Client
from tunesmith.client import Experiment

CLIENTS = 20
SECONDS = 8.0
EVALUATION_S = 0.25
"""What a worker does between ask and tell where waiting times are measured: 20 of them make some 75 pairs a second."""
SPACE = [{"name": name, "minimum": -5, "maximum": 5} for name in "abcde"]
TARGETS = {1_000: 10, 10_000: 25}
"""Trials of the history -> p99 of an ask, in ms."""
VIZIER_NEEDS = (
    "google-vizier[jax]==0.1.24", "jax==0.4.35", "jaxlib==0.4.35", "flax==0.10.2", "optax==0.2.4", "equinox==0.11.7",
)  # fmt: skip
"""It imports jax whatever its policy, and breaks with newer ones."""
VIZIER = Path(__file__).with_name("raw_vizier.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-vizier", action="store_true", help="leave the peer out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with Platform(Path(folder) / "data") as platform:
            client = Client(platform.url)
            ours = asyncio.run(load(platform.url, fresh(client, "random"), SECONDS, 0.0))
            batched = batches(platform.url, fresh(client, "random"), 2000)
            waits = {trials: waiting(platform.url, client, trials) for trials in TARGETS}
        peer = None if arguments.no_vizier else vizier(Path(folder))
    asks = f"ask p50 {ours['p50']:.1f} ms, p99 {ours['p99']:.1f} ms"
    print(f"\nrandom, {CLIENTS} clients, one trial at a time: {ours['rate']:.0f} pairs/s (target 300), {asks}")
    print(f"random, one client, 100 at a time: {batched:.0f} trials/s")
    for trials, found in waits.items():
        workers = f"{CLIENTS} workers of {EVALUATION_S} s, {found['rate']:.0f} pairs/s"
        times = f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms (target {TARGETS[trials]})"
        print(f"tpe, {trials:,} trials, {workers}: ask {times}, worst {found['worst']:.0f} ms")
    if peer is None:
        print("OSS Vizier: left out, or it could not be installed here")
    else:
        print(
            f"OSS Vizier, random policy, {CLIENTS} clients: {peer:.0f} pairs/s; ours/Vizier {ours['rate'] / peer:.2f}"
        )


def fresh(client: Client, sampler: str, **more: Any) -> Experiment:
    content = {"tool_name": f"bench-{time.time_ns()}", "external": True, "parameters": SPACE}
    experiment = client.create_experiment({**content, "objectives": [{"metric": "loss"}], **more})
    post(client.url, f"/api/v1/experiments/{experiment.id}/ask", {"optimizer": {"type": sampler}, "lease_s": 1})
    return experiment


def waiting(url: str, client: Client, trials: int) -> dict[str, float]:
    """How long asks take with a history."""
    experiment = fresh(client, "random")
    batches(url, experiment, trials)
    path = f"/api/v1/experiments/{experiment.id}/ask"
    post(url, path, {"optimizer": {"type": "tpe"}, "lease_s": 1})
    return asyncio.run(load(url, experiment, SECONDS, EVALUATION_S))


def batches(url: str, experiment: Experiment, trials: int, size: int = 100) -> float:
    """Trials per second, asked for and told by the hundred."""
    path = f"/api/v1/experiments/{experiment.id}"
    began = time.perf_counter()
    for _ in range(trials // size):
        asked = post(url, f"{path}/ask", {"count": size})["trials"]
        told = [{"number": t["number"], "token": t["token"], "value": sum(t["params"].values())} for t in asked]
        assert post(url, f"{path}/tell", {"trials": told})["told"] == len(asked)
    return trials / (time.perf_counter() - began)


async def load(url: str, experiment: Experiment, seconds: float, evaluation_s: float) -> dict[str, float]:
    """Pairs per second, and what asks took in ms."""
    times: list[float] = []
    begin = time.perf_counter() + 1.5  # the first ones warm up
    workers = (worker(url, experiment.id, begin, begin + seconds, times, evaluation_s) for _ in range(CLIENTS))
    await asyncio.gather(*workers)
    times.sort()
    return {
        "rate": len(times) / seconds,
        "p50": statistics.median(times) * 1000,
        "p99": times[int(len(times) * 0.99)] * 1000,
        "worst": times[-1] * 1000,
    }


async def worker(
    url: str, experiment_id: int, begin: float, end: float, times: list[float], evaluation_s: float
) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = f"/api/v1/experiments/{experiment_id}"
    await asyncio.sleep(evaluation_s * (id(reader) % 97) / 97)
    while (asked := time.perf_counter()) < end:
        answer = await exchange(reader, writer, f"{path}/ask", {})
        if asked >= begin:
            times.append(time.perf_counter() - asked)
        for trial in answer["trials"]:
            if evaluation_s:
                await asyncio.sleep(evaluation_s)
            value = sum(x * x for x in trial["params"].values())
            tell = {"token": trial["token"], "value": value}
            await exchange(reader, writer, f"{path}/trials/{trial['number']}/tell", tell)
    writer.close()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: Any) -> Any:
    content = json.dumps(body).encode()
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(f"POST {path} HTTP/1.1\r\n{headers}".encode() + content)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *([0-9]+)", answer.lower())
    assert length, answer
    found = await reader.readexactly(int(length.group(1)))
    assert b" 20" in answer[:13], (answer, found)
    return json.loads(found)


def post(url: str, path: str, body: Any) -> Any:
    async def once() -> Any:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
        try:
            return await exchange(reader, writer, path, body)
        finally:
            writer.close()

    return asyncio.run(once())


def vizier(folder: Path) -> float | None:
    """Pairs per second of Vizier's gRPC service with its random policy; None where it cannot be installed."""
    environment = folder / "vizier"
    venv.create(environment, with_pip=True)
    install = [str(environment / "bin/pip"), "install", "--quiet", *VIZIER_NEEDS]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        return None
    command = [str(environment / "bin/python"), str(VIZIER), str(CLIENTS), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
