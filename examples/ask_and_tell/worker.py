"""A worker of your own: the platform chooses the points, this process evaluates them.

    tunesmith up --detach                       # once
    python examples/ask_and_tell/worker.py      # as often, and on as many machines, as you like

All that run at the same time share the trials. TUNESMITH_URL names the service; without it, the platform that runs in
./.tunesmith or else http://127.0.0.1:8000.
"""

from __future__ import annotations

from tunesmith import Client, TrialAnswer

EXPERIMENT = {
    "tool_name": "descent",
    "external": True,
    "parameters": [
        {"name": "rate", "minimum": 0.001, "maximum": 1, "log": True},
        {"name": "momentum", "minimum": 0, "maximum": 0.99},
    ],
    "objectives": [{"metric": "loss"}],
}
SEARCH = {"type": "tpe", "n_iter": 40, "seed": 1, "pruner": "median"}
STEPS = 20


def main() -> None:
    with Client() as client:
        experiment = client.create_experiment(EXPERIMENT)
        for trial in experiment.trials_to_run(optimizer=SEARCH):
            with trial:
                x, velocity = 5.0, 0.0
                for step in range(STEPS):  # what a training does, in miniature
                    velocity = trial.params["momentum"] * velocity - trial.params["rate"] * x
                    x += velocity
                    if trial.report(step, x * x):
                        trial.prune()
                        print(f"trial {trial.number}: pruned after {step + 1} steps")
                        break
                else:
                    trial.tell(x * x)
                    print(f"trial {trial.number}: {x * x:.3g}")
        best = experiment.best()
        assert isinstance(best, TrialAnswer)  # one objective: one best trial
        print(f"best: loss {best.outcome:.3g} at {best.params}")


if __name__ == "__main__":
    main()
