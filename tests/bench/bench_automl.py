"""How good the models are that `models: ["auto"]` finds, beside scikit-learn's defaults and FLAML with the same time.

Outer cross-validation with the same folds for all; the scores (accuracy, R2) are those of the rows held out:

- defaults: of scikit-learn's estimators with their defaults, the one with the best inner cross-validation of each fold;
  `hindsight` is the one whose mean score on the outer folds is best, which nobody knows beforehand.
- ours: a search of 30 trials over all families of the template, on the platform's own engine in this process.
- FLAML: from PyPI, in a virtual environment of its own (`--flaml-python`: one that is there), as many seconds.

`classes` is make_classification (1,000 rows, 3 classes, 10 of 20 columns say something, labels of 2% are wrong);
`friedman` is make_friedman1 (1,000 rows, 10 columns, noise 1.0); the others are scikit-learn's bundled ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn import datasets, ensemble, linear_model, neighbors, neural_network, svm
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[2]))

from serve_app.app import build
from serve_app.embedded import Embedded
from tests.integration.conftest import served
from tuners.hosting.pool import close_idle
from tunesmith import AutoMLClient
from tunesmith.settings import Settings
from tunesmith.store import open_store

CORES, FOLDS, TRIALS = 2, 5, 30
METHODS = ("defaults", "ours", "FLAML")
FLAML = Path(__file__).with_name("raw_flaml.py")
Scores = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Problem:
    """A data set, cut into folds."""

    name: str
    task: str
    table: pd.DataFrame
    """The columns, and the target `y`."""

    def folds(self) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Rows to train on and to score with."""
        kind = StratifiedKFold if self.task == "classification" else KFold
        for inside, outside in kind(FOLDS, shuffle=True, random_state=0).split(self.table, self.table["y"]):
            yield self.table.iloc[inside].reset_index(drop=True), self.table.iloc[outside].reset_index(drop=True)

    def score(self, truth: Any, guess: Any) -> float:
        """Accuracy or R2."""
        return float(accuracy_score(truth, guess) if self.task == "classification" else r2_score(truth, guess))


PROBLEMS: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "breast_cancer": ("classification", lambda: datasets.load_breast_cancer(return_X_y=True)),
    "wine": ("classification", lambda: datasets.load_wine(return_X_y=True)),
    "digits": ("classification", lambda: datasets.load_digits(return_X_y=True)),
    "classes": (
        "classification",
        lambda: datasets.make_classification(1000, 20, n_informative=10, n_classes=3, flip_y=0.02, random_state=0),
    ),
    "diabetes": ("regression", lambda: datasets.load_diabetes(return_X_y=True)),
    "friedman": ("regression", lambda: datasets.make_friedman1(1000, noise=1.0, random_state=0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="which ones; all")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"outer folds to score, of {FOLDS}")
    parser.add_argument("--trials", type=int, default=TRIALS, help="trials of a search")
    parser.add_argument("--flaml-python", help="an interpreter that has flaml[automl]; none: it is installed")
    parser.add_argument("--no-flaml", action="store_true", help="leave the peer out")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        python = None if given.no_flaml else given.flaml_python or installed(folder / "flaml")
        with platform(folder / "data") as client:
            found = {name: measured(problem(name), given, client, folder, python) for name in given.datasets}
    report(found)


def problem(name: str) -> Problem:
    task, make = PROBLEMS[name]
    features, target = make()
    table = pd.DataFrame(features, columns=[f"x{column}" for column in range(features.shape[1])])
    return Problem(name, task, table.assign(y=target))


def measured(
    problem: Problem, given: argparse.Namespace, client: AutoMLClient, folder: Path, python: str | None
) -> dict[str, list[float]]:
    """The scores of each method (and of each estimator with its defaults) on each outer fold; `seconds` of a search."""
    found: dict[str, list[float]] = {}
    for number, (train, test) in zip(range(given.folds), problem.folds(), strict=False):
        train.to_csv(folder / "data" / "training" / "train.csv", index=False)
        test.to_csv(folder / "test.csv", index=False)
        row, inner = with_defaults(problem, train, test)
        row["defaults"] = row[max(inner, key=inner.__getitem__)]
        row["seconds"], row["ours"], what = searched(problem, client, test, given.trials)
        if python is not None:
            row["FLAML"] = flaml(problem, folder, python, row["seconds"])
        for name, value in row.items():
            found.setdefault(name, []).append(value)
        shown = ", ".join(f"{name} {row[name]:.4f}" for name in METHODS if name in row)
        print(f"{problem.name}, fold {number + 1}: {shown}   {row['seconds']:.0f} s: {what}", flush=True)
    return found


def estimators(task: str) -> dict[str, Any]:
    """Scikit-learn's, with their defaults; scaled where that is usual."""
    classes = task == "classification"
    kind = "Classifier" if classes else "Regressor"
    linear = {"logistic": linear_model.LogisticRegression(max_iter=1000)}
    if not classes:
        linear = {"least squares": linear_model.LinearRegression(), "ridge": linear_model.Ridge()}
    scaled = {
        **linear,
        "svm": svm.SVC() if classes else svm.SVR(),
        "neighbours": getattr(neighbors, f"KNeighbors{kind}")(),
        "mlp": getattr(neural_network, f"MLP{kind}")(random_state=0),
    }
    plain = {"random forest": "RandomForest", "extra trees": "ExtraTrees", "boosting": "HistGradientBoosting"}
    return {
        **{name: make_pipeline(StandardScaler(), estimator) for name, estimator in scaled.items()},
        **{name: getattr(ensemble, prefix + kind)(random_state=0) for name, prefix in plain.items()},
    }


def with_defaults(
    problem: Problem, train: pd.DataFrame, test: pd.DataFrame
) -> tuple[dict[str, float], dict[str, float]]:
    """Each estimator's score, and that of its inner cross-validation."""
    features, target = train.drop(columns="y"), train["y"]
    kind = StratifiedKFold if problem.task == "classification" else KFold
    folds = kind(5, shuffle=True, random_state=0)
    outer, inner = {}, {}
    for name, estimator in estimators(problem.task).items():
        inner[name] = float(np.mean(cross_val_score(estimator, features, target, cv=folds, n_jobs=CORES)))
        guess = estimator.fit(features, target).predict(test.drop(columns="y"))
        outer[name] = problem.score(test["y"], guess)
    return outer, inner


@contextmanager
def platform(data_dir: Path) -> Iterator[AutoMLClient]:
    """The service with an engine of its own."""
    settings = Settings(data_dir=data_dir, num_cpus=CORES)
    settings.training_root.mkdir(parents=True)
    store = open_store(settings.database)
    store.upgrade()
    engine = Embedded(store, settings)
    with served(build(settings, engine, store)) as url, AutoMLClient(base_url=url) as client:
        engine.start(alone=True)
        try:
            yield client
        finally:
            engine.stop()
            close_idle()
            store.close()


def searched(problem: Problem, client: AutoMLClient, test: pd.DataFrame, trials: int) -> tuple[float, float, str]:
    """Seconds of a search, the score of its model, and which one that is."""
    config = {
        "model": {"type": problem.task},
        "training": {"validation_split": 0.0},
        "data": {"train_path": "train.csv", "target": "y"},
        "hyperparameter_search": {"enabled": True, "n_trials": trials, "models": ["auto"], "folds": 5},
    }
    began = time.perf_counter()
    model = client.wait(client.train(config)["model_id"])
    seconds = time.perf_counter() - began
    best = client.leaderboard(model["model_id"], limit=1)["trials"][0]
    guess = client.predict(model["model_id"], test.drop(columns="y"))
    return seconds, problem.score(test["y"], guess), json.dumps(best["params"])


def installed(environment: Path) -> str | None:
    """An interpreter with FLAML; None where it cannot be installed."""
    venv.create(environment, with_pip=True)
    install = [str(environment / "bin/pip"), "install", "--quiet", "flaml[automl]"]
    done = subprocess.run(install, capture_output=True, check=False).returncode == 0
    return str(environment / "bin/python") if done else None


def flaml(problem: Problem, folder: Path, python: str, seconds: float) -> float:
    """The score of FLAML's model after so many seconds."""
    train, test, guess = folder / "data/training/train.csv", folder / "test.csv", folder / "guess.csv"
    command = [python, str(FLAML), problem.task, str(train), str(test), str(guess), str(seconds), str(CORES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"FLAML failed: {done.stderr[-2000:]}")
    return problem.score(pd.read_csv(test)["y"], pd.read_csv(guess)["y"])


def report(found: Mapping[str, Scores]) -> None:
    """Print the table: means over the folds, ranks of the means, and what is left to the targets."""
    methods = [name for name in METHODS if all(name in scores for scores in found.values())]
    ranks = {}
    print(f"\n{'':15}{'hindsight':>21}" + "".join(f"{name:>18}" for name in methods) + f"{'seconds':>10}")
    for name, scores in found.items():
        ranks[name] = rankdata([-round(float(np.mean(scores[method])), 6) for method in methods])
        plain = {each: float(np.mean(scores[each])) for each in scores if each not in (*METHODS, "seconds")}
        best = max(plain, key=plain.__getitem__)
        cells = "".join(
            f"{np.mean(scores[method]):>12.4f} ({rank:.1f})" for method, rank in zip(methods, ranks[name], strict=True)
        )
        print(f"{name:15}{best:>14}{plain[best]:>7.4f}{cells}{np.mean(scores['seconds']):>10.1f}")
    mean = np.mean(list(ranks.values()), axis=0)
    print(f"{'mean rank':36}" + "".join(f"{rank:>18.2f}" for rank in mean))
    for name, scores in found.items():
        for method in methods:
            if method != "ours":
                ahead = np.subtract(scores["ours"], scores[method])
                spread = np.std(ahead, ddof=1) / len(ahead) ** 0.5 if len(ahead) > 1 else float("nan")
                print(f"  {name}: ours - {method} {np.mean(ahead):+.4f} (standard error {spread:.4f})")
    kept = sum(np.mean(scores["ours"]) >= np.mean(scores["defaults"]) - 1e-9 for scores in found.values())
    print(f"ours at least as good as the best of the defaults: {kept} of {len(found)} data sets (target: all)")
    if "FLAML" in methods:
        ours, theirs = mean[methods.index("ours")], mean[methods.index("FLAML")]
        print(
            f"mean rank {ours:.2f}, FLAML's {theirs:.2f} (target: no worse): {'kept' if ours <= theirs else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
