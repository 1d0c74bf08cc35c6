"""Makes a small result folder of Ray Tune's: `python tests/data/make_ray_tune.py [DIRECTORY]`, by default `ray_tune`.

Four trials, one of which fails. Of each run's files only those are kept that an import reads, without pickles and
without the names of the machine that ran it.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune

HERE = Path(__file__).resolve().parent
KEPT = ("params.json", "result.json", "progress.csv", "error.txt")


def train(config: dict[str, Any]) -> None:
    for step in range(1, 4):
        tune.report({"loss": config["lr"] * step, "acc": 1 - config["lr"]})
    if config["opt"] == "sgd" and config["lr"] > 0.5:
        raise RuntimeError("boom")


def main(target: Path) -> None:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    space = {
        "lr": tune.grid_search([0.1, 0.9]),
        "opt": tune.grid_search(["sgd", "adam"]),
        "model": {"units": 8},
        "tags": [1, 2],
    }
    with tempfile.TemporaryDirectory() as directory:
        run = tune.RunConfig(name="ray_tune", storage_path=directory)
        tune.Tuner(
            train, param_space=space, tune_config=tune.TuneConfig(metric="loss", mode="min"), run_config=run
        ).fit()
        keep(Path(directory, "ray_tune"), target)


def keep(made: Path, kept: Path) -> None:
    """Copy what an import reads."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    (state,) = made.glob("experiment_state-*.json")
    document = json.loads(state.read_text())
    trials = [[bare(part) for part in entry] for entry in document["trial_data"]]
    small = {"trial_data": trials, "runner_data": {"_metric": document["runner_data"]["_metric"]}}
    (kept / state.name).write_text(anonymous(json.dumps(small, indent=1)) + "\n")
    for file in sorted(made.glob("*/*")):
        if file.name in KEPT:
            (kept / file.parent.name).mkdir(exist_ok=True)
            (kept / file.parent.name / file.name).write_text(anonymous(text_of(file)))


def text_of(file: Path) -> str:
    """A file's text; of an error only its last line, for the others name files of the machine."""
    text = file.read_text()
    return text.strip().splitlines()[-1] + "\n" if file.name == "error.txt" else text


def bare(part: str) -> str:
    """A part of a trial without its pickles."""
    found = json.loads(part)
    return json.dumps({name: value for name, value in found.items() if "800" not in str(value)[:200]})


def anonymous(text: str) -> str:
    """The text without the machine's names."""
    return text.replace(ray.util.get_node_ip_address(), "192.0.2.1").replace(socket.gethostname(), "host")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE / "ray_tune")
