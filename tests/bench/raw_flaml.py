"""FLAML for so many seconds; runs where FLAML is installed, and knows nothing of the platform.

python raw_flaml.py TASK TRAIN.csv TEST.csv GUESS.csv SECONDS CORES       the column `y` is the target
"""

from __future__ import annotations

import sys
import warnings

import pandas as pd
from flaml import AutoML  # type: ignore[import-not-found]


def main() -> None:
    task, train, test, guess, seconds, cores = sys.argv[1:]
    warnings.simplefilter("ignore")
    model = AutoML()
    model.fit(
        dataframe=pd.read_csv(train),
        label="y",
        task=task,
        metric="accuracy" if task == "classification" else "r2",
        time_budget=float(seconds),
        n_jobs=int(cores),
        seed=0,
        verbose=0,
    )
    pd.DataFrame({"y": model.predict(pd.read_csv(test).drop(columns="y"))}).to_csv(guess, index=False)


if __name__ == "__main__":
    main()
