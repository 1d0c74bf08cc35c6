"""A training loop that yields its loss after every epoch: hopeless ones are ended early, on two processes at once.

python examples/python_api/pruned_training.py
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator

from tuners import Float, Int, tune


def train(rate: float, width: int) -> Iterator[float]:
    """Fit a noisy line by gradient descent; the loss of each epoch."""
    noise = random.Random(width)
    points = [(x / 20, 3 * x / 20 + 1 + noise.gauss(0, 0.1)) for x in range(20)]
    slope = offset = 0.0
    for _ in range(30):
        time.sleep(0.01)  # an epoch of real training takes a while
        errors = [(slope * x + offset - y, x) for x, y in points]
        slope -= rate * sum(error * x for error, x in errors) / len(points)
        offset -= rate * sum(error for error, _ in errors) / len(points)
        yield math.sqrt(sum(error**2 for error, _ in errors) / len(points))


def main() -> None:
    result = tune(
        train,
        {"rate": Float(1e-3, 1.5, log=True), "width": Int(1, 64)},
        metric="loss",
        pruner={"type": "median", "n_startup_trials": 5},
        trials=40,
        seed=1,
        workers=2,
    )
    print(f"best: loss {result.best.value:.3f} at rate {result.best.params['rate']:.3g}")
    print(f"{result.counts['pruned']} of {len(result)} trials were ended early")


if __name__ == "__main__":
    main()
