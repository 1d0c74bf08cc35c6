#!/usr/bin/env python3
"""Some steps of gradient descent in Rosenbrock's valley: what one trial does, from its checkpoint on."""

import json
import math
import os
from pathlib import Path

rate = float(os.environ["TUNESMITH_PARAM_RATE"])
momentum = float(os.environ["TUNESMITH_PARAM_MOMENTUM"])
first, count = int(os.environ.get("TUNESMITH_STEP", "0")), int(os.environ.get("TUNESMITH_STEPS", "100"))
checkpoint = Path(os.environ["TUNESMITH_CHECKPOINT"]) / "state.json"

x, y, vx, vy = json.loads(checkpoint.read_text()) if checkpoint.exists() else (-1.5, 2.0, 0.0, 0.0)
for _step in range(first, first + count):
    slope_x, slope_y = -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)
    steepness = max(1.0, math.hypot(slope_x, slope_y))  # clipped, so that a large rate does not diverge
    vx, vy = momentum * vx - rate * slope_x / steepness, momentum * vy - rate * slope_y / steepness
    x, y = x + vx, y + vy

# Under another name first: a trial may be ended at any moment, and half a checkpoint would be worse than none.
written = checkpoint.with_name("state.new")
written.write_text(json.dumps([x, y, vx, vy]))
written.rename(checkpoint)
with open(os.environ["TUNESMITH_METRICS"], "a") as metrics:
    print(json.dumps({"loss": (1 - x) ** 2 + 100 * (y - x * x) ** 2}), file=metrics)
