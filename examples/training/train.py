#!/usr/bin/env python3
"""Gradient descent in Rosenbrock's valley, as a training job: a checkpoint after each epoch, and on from there.

Standard library only. The platform sets CHECKPOINT_DIR, and appends `--resume-from-checkpoint DIR` on a retry.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

FIRST = {"epoch": 0, "x": -1.5, "y": 2.0, "vx": 0.0, "vy": 0.0}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10, help="how many to train in all")
    parser.add_argument("--steps", type=int, default=200, help="steps of an epoch")
    parser.add_argument("--rate", type=float, default=0.0005, help="the learning rate")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long an epoch takes at least")
    parser.add_argument("--resume-from-checkpoint", type=Path, metavar="DIR", help="go on from what lies there")
    parser.add_argument("--fail-at", type=int, metavar="EPOCH", help="fail after this epoch, the first time")
    return parser.parse_args()


def load(directory):
    checkpoint = None if directory is None else directory / "state.json"
    return json.loads(checkpoint.read_text()) if checkpoint is not None and checkpoint.exists() else dict(FIRST)


def save(directory, state):
    # Under another name first: whoever is killed while writing would leave half a checkpoint.
    written = directory / "state.new"
    written.write_text(json.dumps(state))
    written.rename(directory / "state.json")


def loss_of(state):
    return (1 - state["x"]) ** 2 + 100 * (state["y"] - state["x"] ** 2) ** 2


def step(state, rate):
    x, y = state["x"], state["y"]
    slope_x, slope_y = -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)
    steepness = max(1.0, math.hypot(slope_x, slope_y))  # clipped, so that a large rate does not diverge
    state["vx"] = 0.9 * state["vx"] - rate * slope_x / steepness
    state["vy"] = 0.9 * state["vy"] - rate * slope_y / steepness
    state["x"], state["y"] = x + state["vx"], y + state["vy"]


def fail_once(directory, epoch):
    mark = directory / "failed-once"
    if not mark.exists():
        mark.touch()
        sys.exit(f"failing after epoch {epoch}, as it was told to")


def main():
    options = arguments()
    directory = Path(os.environ.get("CHECKPOINT_DIR", "checkpoint"))
    directory.mkdir(parents=True, exist_ok=True)
    state = load(options.resume_from_checkpoint)
    if state["epoch"]:
        print(f"resumed after epoch {state['epoch']}", flush=True)

    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))  # an epoch is short: it is finished, and saved
    while state["epoch"] < options.epochs:
        began = time.monotonic()
        for _ in range(options.steps):
            step(state, options.rate)
        while not stopping and time.monotonic() - began < options.seconds:
            time.sleep(0.05)
        state["epoch"] += 1
        save(directory, state)
        print(f"epoch {state['epoch']} loss {loss_of(state):.6g}", flush=True)
        if stopping:
            sys.exit(f"told to stop; saved after epoch {state['epoch']}")
        if state["epoch"] == options.fail_at:
            fail_once(directory, state["epoch"])

    if metrics := os.environ.get("TUNESMITH_METRICS"):
        with open(metrics, "a") as stream:
            print(json.dumps({"loss": loss_of(state)}), file=stream)


if __name__ == "__main__":
    main()
