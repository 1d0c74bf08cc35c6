"""Scenarios on a whole platform: from POST run to complete, how many a second, and what polling clients wait.

python bench_scenarios.py [SCENARIOS]      500 by default
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform, until

from tunesmith.scenarios.example import example_data

EXAMPLE = "tunesmith.scenarios.example:build_example_config"
SESSION = "/api/v1/sessions/main"
CLIENTS, PAUSE_S, POLL_S = 200, 0.5, 10.0
POSTING = 4
"""Connections that ask for runs at once."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="2", TUNESMITH_PLUGINS=EXAMPLE) as platform,
    ):
        with httpx2.Client(base_url=platform.url, timeout=60) as client:
            session = Session(client)
            session.ok(client.post(f"{SESSION}/data/from-json", content=example_data().to_json().encode()))
            session.run(session.make("warm", 20))  # the workers and their children come up
            waits = sorted(session.wait_for(scenario) for scenario in session.make("alone", 50))
            session.ok(client.patch(SESSION, json={"display_name": "main", "max_parallel": 2}))
            session.run(session.make("both", 20))
            ready = session.make("many", count)
            rate = count / session.run(ready)
            (polled,) = session.make("polled", 1)
        times = sorted(asyncio.run(poll(platform.url, polled)))
    median, worst = statistics.median(waits), waits[-1]
    print(f"POST run of an instant scenario to `complete`: median {median * 1000:.0f} ms, worst {worst * 1000:.0f} ms")
    print("  target: a median of 250 ms")
    print(f"{count} scenarios, max_parallel 2: {rate:.1f} a second (target 50)")
    print(f"status polled by {CLIENTS} clients every {PAUSE_S} s: {len(times) / POLL_S:.0f} a second,", end=" ")
    print(f"p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.1f} ms (target 100)")


class Session:
    """The session `main` of a running platform."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def ok(self, response: httpx2.Response) -> Any:
        assert response.is_success, response.text
        return response.json()

    def make(self, name: str, count: int) -> list[str]:
        """New scenarios of the instant algorithm, not run."""
        body = {"dataset_key": "example_data", "algo_name": "Instant"}
        made = (self.client.post(f"{SESSION}/scenarios", json={"tag": f"{name}{n}", **body}) for n in range(count))
        return [self.ok(response)["id"] for response in made]

    def wait_for(self, scenario: str) -> float:
        """Seconds from POST run to `complete`, as a client sees it that asks all the time."""
        began = time.perf_counter()
        self.ok(self.client.post(f"{SESSION}/scenarios/{scenario}/run"))
        while self.status(scenario) != "complete":
            time.sleep(0.002)
        return time.perf_counter() - began

    def status(self, scenario: str) -> str:
        found = self.ok(self.client.get(f"{SESSION}/scenarios/{scenario}/status"))["status"]
        assert found != "failed", self.client.get(f"{SESSION}/scenarios/{scenario}").text
        return str(found)

    def run(self, scenarios: Iterable[str]) -> float:
        """Run them all; seconds until the last one is complete."""
        scenarios = list(scenarios)
        began = time.perf_counter()
        with ThreadPoolExecutor(POSTING) as pool:
            for response in pool.map(lambda one: self.client.post(f"{SESSION}/scenarios/{one}/run"), scenarios):
                self.ok(response)
        posted = time.perf_counter() - began
        for scenario in reversed(scenarios):
            until(lambda one=scenario: self.status(one) == "complete", 120, 0.01)  # type: ignore[misc]
        took = time.perf_counter() - began
        print(f"  {len(scenarios)} runs asked for in {posted:.2f} s, all complete after {took:.2f} s", file=sys.stderr)
        return took


async def poll(url: str, scenario: str) -> list[float]:
    """Seconds that each answer took, for clients that ask on connections of their own."""
    host, port = url.removeprefix("http://").split(":")
    message = f"GET {SESSION}/scenarios/{scenario}/status HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    times: list[float] = []
    end = time.perf_counter() + POLL_S

    async def client(number: int) -> None:
        await asyncio.sleep(PAUSE_S * number / CLIENTS)  # as clients come, not all at once
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < end:
            began = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            took = time.perf_counter() - began
            times.append(took)
            await asyncio.sleep(max(0.0, PAUSE_S - took))
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return times


if __name__ == "__main__":
    main()
