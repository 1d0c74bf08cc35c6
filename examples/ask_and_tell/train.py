#!/usr/bin/env python3
"""A training script that knows nothing of the platform but a file to write to: for `tunesmith work`.

tunesmith work descent --optimizer tpe -- python examples/ask_and_tell/train.py --rate {rate} --momentum {momentum}
"""

import argparse
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--momentum", type=float, required=True)
arguments = parser.parse_args()

x, velocity = 5.0, 0.0
with open(os.environ["TUNESMITH_METRICS"], "a", buffering=1) as metrics:
    for step in range(20):
        velocity = arguments.momentum * velocity - arguments.rate * x
        x += velocity
        print(json.dumps({"loss": x * x, "step": step}), file=metrics)  # the last one is the trial's
