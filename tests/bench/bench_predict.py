"""Predictions over HTTP, of one row and of a thousand, beside the same model in a Ray Serve application by hand.

python bench_predict.py [TEMPLATE]      classification by default
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from running import Platform, until

SAMPLES = {"classification": "breast_cancer", "regression": "diabetes", "linear": "diabetes"}
TARGET_ONE_MS, TARGET_MANY_MS = 15, 100
ROUNDS = ((1, 1000), (1000, 100))
"""Rows of a request, and how often it is sent."""
CLIENTS, LOAD_S = 16, 5.0
PEER_PORT = 18_442
PEER = """
import os, sys, time
import joblib, pandas, ray
from fastapi import Body, FastAPI
from ray import serve
from ray.serve.config import HTTPOptions
ray.init(address="local", include_dashboard=False, log_to_driver=False)
serve.start(http_options=HTTPOptions(port=int(sys.argv[1])))
app = FastAPI()
@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
@serve.ingress(app)
class Plain:
    def __init__(self):
        self.model = joblib.load(os.environ["PEER_MODEL"])
    @app.post("/predict")
    def predict(self, rows: list[dict[str, float]] = Body(embed=True)):
        return {"predictions": self.model.predict(pandas.DataFrame.from_records(rows)).tolist()}
serve.run(Plain.bind())
time.sleep(10000)
"""


def main() -> None:
    template = sys.argv[1] if len(sys.argv) > 1 else "classification"
    rows, target = sample(SAMPLES[template])
    many = [rows[number % len(rows)] for number in range(1000)]
    with tempfile.TemporaryDirectory() as folder:
        with Platform(Path(folder) / "data", TUNESMITH_NUM_CPUS="2") as platform:
            path = f"{platform.url}{trained(platform.url, template)}/predict"
            ours = measured(path, many, cold=True)
        with peer(Path(folder), template, rows, target) as url:
            plain = measured(url, many)
    report(template, ours, plain)


def sample(name: str) -> tuple[list[dict[str, float]], list[Any]]:
    """The rows of one of scikit-learn's data sets, and what is to be predicted of them."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return found.data.to_dict("records"), found.target.tolist()


def trained(url: str, template: str) -> str:
    """The path of a model that was trained."""
    data = {"train_path": f"sample:{SAMPLES[template]}"}
    made = httpx2.post(f"{url}/v1/train", json={"config_name": template, "config_overrides": {"data": data}})
    assert made.status_code == 202, made.text
    path = f"/v1/models/{made.json()['model_id']}"

    def ended() -> bool:
        model = httpx2.get(url + path).json()
        assert model["status"] not in ("failed", "stopped"), model["error"]
        return bool(model["status"] == "completed")

    until(ended, 120, 0.2)
    return path


def measured(url: str, many: list[dict[str, float]], cold: bool = False) -> dict[str, float]:
    """Milliseconds of the first request (`cold`), and p50 and p99 of all others; requests a second of many clients."""
    found = {}
    with httpx2.Client(timeout=60) as client:
        if cold:
            found["cold"] = timed(client, url, many[:1])
        for count, times in ROUNDS:
            timed(client, url, many[:count])
            took = sorted(timed(client, url, many[:count]) for _ in range(times))
            found |= {f"p50 {count}": statistics.median(took), f"p99 {count}": took[int(0.99 * times)]}
    found["rate"] = asyncio.run(rate(url, many[:1]))
    return found


def timed(client: httpx2.Client, url: str, rows: list[dict[str, float]]) -> float:
    """Milliseconds until the answer is read."""
    body = json.dumps({"rows": rows}).encode()
    began = time.perf_counter()
    answer = client.post(url, content=body, headers={"Content-Type": "application/json"})
    took = time.perf_counter() - began
    assert len(answer.json()["predictions"]) == len(rows), answer.text
    return took * 1000


async def rate(url: str, rows: list[dict[str, float]]) -> float:
    """Requests a second, of clients that send one after another."""
    body, answered, end = json.dumps({"rows": rows}).encode(), 0, time.perf_counter() + LOAD_S

    async def client(session: httpx2.AsyncClient) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            answer = await session.post(url, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 200, answer.text
            answered += 1

    async with httpx2.AsyncClient(timeout=60) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return answered / LOAD_S


@contextmanager
def peer(folder: Path, template: str, rows: list[dict[str, float]], target: list[Any]) -> Iterator[str]:
    """The URL of what people write by hand: scikit-learn's defaults on the same data, in a Serve deployment."""
    import joblib
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    kinds = {
        "classification": HistGradientBoostingClassifier,
        "regression": HistGradientBoostingRegressor,
        "linear": LinearRegression,
    }
    joblib.dump(kinds[template]().fit(pd.DataFrame(rows), target), folder / "peer.joblib")
    (folder / "peer.py").write_text(PEER)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))}
    environ |= {"RAY_AUTH_MODE": "disabled", "PEER_MODEL": str(folder / "peer.joblib")}
    command = [sys.executable, str(folder / "peer.py"), str(PEER_PORT)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{PEER_PORT}/predict"

    def answers() -> bool:
        try:
            return httpx2.post(url, json={"rows": rows[:1]}, timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        until(answers, 120, 0.3)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def report(template: str, ours: dict[str, float], plain: dict[str, float]) -> None:
    """Print both, and whether the targets are kept."""
    print(f"{template}: the first prediction, which starts the process and loads the model: {ours['cold']:.0f} ms")
    for count, target in ((1, TARGET_ONE_MS), (1000, TARGET_MANY_MS)):
        mine, theirs = ours[f"p50 {count}"], plain[f"p50 {count}"]
        kept = "kept" if mine < target else "MISSED"
        print(f"  {count:>4} rows: p50 {mine:6.1f} ms, p99 {ours[f'p99 {count}']:6.1f} ms   target {target} ms: {kept}")
        ratio = mine / theirs
        print(f"   plain Serve: p50 {theirs:6.1f} ms, p99 {plain[f'p99 {count}']:6.1f} ms   ours/plain {ratio:.2f}")
    print(f"  one row, {CLIENTS} clients: {ours['rate']:.0f} a second; plain Serve {plain['rate']:.0f} a second")


if __name__ == "__main__":
    main()
