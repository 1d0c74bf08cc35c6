"""The peer: Optuna alone with its RDB storage, several processes on one study, as its documentation distributes work.

python raw_optuna.py URL SAMPLER TRIALS PROCESSES      prints trials per second
"""

from __future__ import annotations

import subprocess
import sys
import time

import optuna


def work(url: str, sampler: str, trials: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[sampler]()
    study = optuna.load_study(study_name="bench", storage=url, sampler=kind)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=trials)


def main() -> None:
    url, sampler, trials, processes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if processes == 0:
        work(url, sampler, trials)
        return
    optuna.create_study(study_name="bench", storage=url)
    share = str(trials // processes)
    started = [subprocess.Popen([sys.executable, __file__, url, sampler, share, "0"]) for _ in range(processes)]
    study = optuna.load_study(study_name="bench", storage=url)
    while not study.get_trials(deepcopy=False):  # their imports are not counted
        time.sleep(0.05)
    began = time.perf_counter()
    for process in started:
        assert process.wait() == 0
    print(f"{trials / (time.perf_counter() - began):.2f}")


if __name__ == "__main__":
    main()
