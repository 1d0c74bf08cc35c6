"""Train a population of eight: 160 segments of 100 steps, each from the checkpoint of an earlier one.

    tunesmith up --detach                       # once
    python examples/population/run.py           # or: run.py pb2

TUNESMITH_URL names the service; without it, the platform that runs in ./.tunesmith or else http://127.0.0.1:8000.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tunesmith import Client

EXPERIMENT = {
    "tool_name": "rosenbrock-descent",
    "parameters": [
        {"name": "rate", "minimum": 1e-4, "maximum": 1, "log": True},
        {"name": "momentum", "minimum": 0, "maximum": 0.99},
    ],
    "command_template_string": Path(__file__).with_name("train.py").read_text(),
    "objectives": [{"metric": "loss", "direction": "minimize"}],
}


def main(sampler: str = "pbt") -> None:
    with Client() as client:
        experiment = client.create_experiment(EXPERIMENT)
        job = experiment.submit(
            {"type": sampler, "n_iter": 160, "seed": 1, "population_size": 8, "perturbation_interval": 100}
        )
        for event in job.events():
            if event.kind == "trial":
                print(f"trial {event.data['number']}: {event.data['state']}, loss {event.data['values'][0]:.2g}")
        best = job.refresh().progress.best  # of this job: another sampler's trials are of the same experiment
        assert best is not None
        print(f"best: loss {best.outcome:.2g}, trial {best.number}, at last with {dict(best.params)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
