"""Minimize a function of two numbers, written in bash and awk, with the Python client.

    tunesmith up --detach                       # once
    python examples/client/optimize.py

TUNESMITH_URL names the service (default http://127.0.0.1:8000).
"""

from __future__ import annotations

import os

from tunesmith import Client

EXPERIMENT = {
    "tool_name": "himmelblau",
    "parameters": [
        {"name": "x", "minimum": -5, "maximum": 5},
        {"name": "y", "minimum": -5, "maximum": 5},
    ],
    "command_template_string": (
        "awk -v x=${x} -v y=${y} "
        """'BEGIN { print "loss=" (x*x + y - 11) ^ 2 + (x + y*y - 7) ^ 2 }'"""
    ),
    "metrics": {"patterns": {"loss": r"loss=(\S+)"}},
    "objectives": [{"metric": "loss", "direction": "minimize"}],
}


def main() -> None:
    client = Client(os.environ.get("TUNESMITH_URL", "http://127.0.0.1:8000"))
    experiment = client.create_experiment(EXPERIMENT)
    job = experiment.submit(optimizer={"type": "tpe", "n_iter": 30, "seed": 1})
    for event in job.events():
        if event.kind == "trial":
            print(event.data)
    job.wait()
    print("best:", experiment.best())


if __name__ == "__main__":
    main()
