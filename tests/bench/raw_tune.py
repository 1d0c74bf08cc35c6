"""The peer: raw Ray Tune with OptunaSearch at its best settings (reused actors, loggers off, two trials at once).

python raw_tune.py SAMPLER TRIALS      prints trials per second, and seconds from the script's start to the first trial
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from typing import Any

BEGAN = time.time()
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_GLOBAL_CHECKPOINT_S="100000", TUNE_MAX_PENDING_TRIALS_PG="2")
warnings.simplefilter("ignore")

import optuna  # noqa: E402
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.search import ConcurrencyLimiter  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402


class Objective(tune.Trainable):
    """x -> x, as cheap as an evaluation can be."""

    def setup(self, config: dict[str, Any]) -> None:
        self.x = config["x"]
        self.at = time.time()

    def step(self) -> dict[str, Any]:
        return {"value": self.x, "at": self.at, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


def main() -> None:
    name, trials = sys.argv[1], int(sys.argv[2])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[name](seed=1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.FloatDistribution(0, 1)}
    search = ConcurrencyLimiter(
        OptunaSearch(space=space, metric="value", mode="min", sampler=sampler), max_concurrent=2
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        results = tune.Tuner(
            Objective,
            tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder, verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)
            ),
        ).fit()
        seconds = time.time() - started
        first = min(result.metrics["at"] for result in results if result.metrics)
    # Its rate is counted from its first trial on: starting up is shown apart.
    print(f"{trials / (started + seconds - first):.2f} {first - BEGAN:.2f} {first - started:.2f}")


if __name__ == "__main__":
    main()
