"""Search the parameters of a Python function, here and now, with no server.

    python examples/python_api/quickstart.py

Every trial is kept in runs.db: kill the script at any moment and start it again, and it goes on where it was.
"""

from __future__ import annotations

from tuners import Choice, Float, Int, Params, tune


def objective(params: Params) -> dict[str, float]:
    """A model of a machine: how long it takes, and how much memory."""
    waste = (params.x - 2.0) ** 2 + (3.0 if params.kind == "slow" else 0.0)
    return {"seconds": waste + 8 / params.threads, "memory": 100.0 * params.threads}


def main() -> None:
    result = tune(
        objective,
        {"x": Float(-5, 5), "threads": Int(1, 16, log=True), "kind": Choice("fast", "slow")},
        metric="seconds",
        constraints=["memory <= 800"],
        trials=60,
        seed=1,
        name="quickstart",
        storage="sqlite:///runs.db",
    )
    best = result.best
    print(f"best: {best.value:.3f} s at {best.params}, {best.metrics['memory']:.0f} MB")
    print(result.trials.select(["number", "value", "params_threads", "feasible"]).slice(0, 3).to_pylist())


if __name__ == "__main__":
    main()
