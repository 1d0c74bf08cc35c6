"""Minimize a function of two numbers, written in bash and awk, with the Python client.

    tunesmith up --detach                       # once
    python examples/client/optimize.py

TUNESMITH_URL names the service; without it, the platform that runs in ./.tunesmith or else http://127.0.0.1:8000.
"""

from __future__ import annotations

from tunesmith import Client, TrialAnswer

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
    with Client() as client:
        experiment = client.create_experiment(EXPERIMENT)
        job = experiment.submit({"type": "tpe", "n_iter": 30, "seed": 1})
        for event in job.events():  # as they happen, until the job ends
            if event.kind == "trial":
                print(f"trial {event.data['number']}: {event.data['state']}, {event.data['values']}")
        best = experiment.best()
        assert isinstance(best, TrialAnswer)  # one objective: one best trial
        print(f"best: loss {best.outcome:.3f} at {best.params}")


if __name__ == "__main__":
    main()
