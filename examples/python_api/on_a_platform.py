"""The same on a running platform: the function is shipped to its cluster, with the code that lies beside it.

    tunesmith up --detach                       # once
    python examples/python_api/on_a_platform.py

TUNESMITH_URL names the service; without it, the platform that runs in ./.tunesmith or else http://127.0.0.1:8000.
"""

from __future__ import annotations

import time

from tuners import Float, Params
from tunesmith import Client


def objective(params: Params) -> float:
    time.sleep(0.05)  # the work
    return (params.x**2 + params.y - 11) ** 2 + (params.x + params.y**2 - 7) ** 2


def main() -> None:
    with Client() as client:
        result = client.tune(
            objective, {"x": Float(-5, 5), "y": Float(-5, 5)}, metric="loss", trials=40, seed=1, name="himmelblau"
        )
    print(f"best: loss {result.best.value:.3f} at {result.best.params}")


if __name__ == "__main__":
    main()
