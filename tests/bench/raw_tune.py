"""The peer: raw Ray Tune with OptunaSearch at its best settings (reused actors, loggers off, a trial per slot).

python raw_tune.py SAMPLER TRIALS [SLOTS [SLEEP_S [WARM]]]

Prints trials per second from the first trial on, seconds from the script's start and from the fit's start to the first
trial, and seconds of the whole fit; with WARM of a second fit in the same process, each trial running `true`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

BEGAN = time.time()
SLOTS = int(sys.argv[3]) if len(sys.argv) > 3 else 2
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_GLOBAL_CHECKPOINT_S="100000", TUNE_MAX_PENDING_TRIALS_PG=str(SLOTS))
warnings.simplefilter("ignore")

import optuna  # noqa: E402
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.search import ConcurrencyLimiter  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402


class Objective(tune.Trainable):
    """x -> x: as cheap as an evaluation can be, or a sleep, or the command `true`."""

    def setup(self, config: dict[str, Any], sleep_s: float = 0, command: bool = False) -> None:
        self.sleep_s, self.command = sleep_s, command
        self.reset_config(config)

    def step(self) -> dict[str, Any]:
        if self.command:
            subprocess.run(["bash", "-c", "true"], check=True)
        time.sleep(self.sleep_s)
        return {"value": self.x, "at": self.at, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.x, self.at = new_config["x"], time.time()
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


def fit(sampler: str, trials: int, sleep_s: float, command: bool) -> tuple[float, float, float]:
    """(when it began, its first trial's start, when it ended), Unix seconds."""
    kind = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[sampler](seed=1)
    space: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0, 1) for name in ("x", "y")}
    search = ConcurrencyLimiter(
        OptunaSearch(space=space, metric="value", mode="min", sampler=kind), max_concurrent=SLOTS
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        results = tune.Tuner(
            tune.with_parameters(Objective, sleep_s=sleep_s, command=command),
            tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder, verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)
            ),
        ).fit()
        return began, min(result.metrics["at"] for result in results if result.metrics), time.time()


def main() -> None:
    sampler, trials = sys.argv[1], int(sys.argv[2])
    sleep_s = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    warm = len(sys.argv) > 5
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    began, first, ended = fit(sampler, trials, sleep_s, command=warm)
    if warm:
        began, first, ended = fit(sampler, trials, sleep_s, command=True)
    print(f"{trials / (ended - first):.2f} {first - BEGAN:.2f} {first - began:.2f} {ended - began:.2f}")


if __name__ == "__main__":
    main()
