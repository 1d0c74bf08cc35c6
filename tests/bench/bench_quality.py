"""How close samplers come to the optimum of the BBOB functions: `auto` beside Optuna's samplers with their defaults.

The normalised regret of a search is (best value - optimum) / (what random search leaves of it), at most 1: 0 is the
optimum, 1 no better than random search. What random search leaves is the median of 101 random searches of the same
length on the same instance. As a mean of that is ruled by the functions on which nobody comes close, the second column
has the same on a logarithmic scale, from 1e-8 (0) to random search (1), as BBOB's own targets are spaced.

Seed s runs on instance s + 1 of each function (another optimum, other rotations). Seconds are of the processor.

Without options: all 24 functions in 5-D, 200 trials, 5 seeds, two searches at a time, which takes some 15 to 25
minutes, nearly all of them for `auto`. `--quick` takes five functions, one of each group, and two seeds: about two
minutes. Optuna's Gaussian process runs only where `--samplers` names it (`gp`): it takes hours on all functions.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ioh
import numpy as np
import optuna
from threadpoolctl import threadpool_limits

from tuners import samplers
from tuners.search import PointSearch
from tunesmith.domain import Experiment, Search, Trial, TrialState, space_of
from tunesmith.testing.factories import EPOCH, spec

DIMENSION, LOW, HIGH = 5, -5.0, 5.0
TARGET = 1e-8
BASELINES = 101
NAMES = [f"x{i}" for i in range(DIMENSION)]
SPACE = space_of([{"name": name, "minimum": LOW, "maximum": HIGH} for name in NAMES])
DISTRIBUTIONS = {name: optuna.distributions.FloatDistribution(LOW, HIGH) for name in NAMES}
EXPERIMENT = Experiment(
    id=1, workspace_id="w", spec=spec(space=SPACE), name="bbob", tags=(), archived=False, created_at=EPOCH, counts={}
)
REPRESENTATIVE = [3, 8, 13, 15, 21]
"""A function of each group."""
SLOWEST = ["gp", "auto"]
GROUPS = {
    "separable": range(1, 6),
    "moderate": range(6, 10),
    "ill-cond.": range(10, 15),
    "multimodal": range(15, 20),
    "weak": range(20, 25),
}
OPTUNA: dict[str, Callable[[int], Any]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}
OURS = "ours:"
"""What stands before the name of one of the platform's samplers; `auto` goes without."""


class Case(NamedTuple):
    """One search."""

    sampler: str
    function: int
    seed: int
    trials: int


class Evaluation(NamedTuple):
    """One trial of a search."""

    point: Mapping[str, Any]
    value: float
    seconds: float
    """Of the processor, for the suggestion and for what is learnt from its value."""


class Outcome(NamedTuple):
    """What came of a search."""

    regret: float
    """Best value found, less the optimum."""
    normalised: float
    logarithmic: float
    seconds: float
    """Of the processor, per suggestion."""


def main() -> None:
    options = arguments()
    cases = [
        Case(sampler, function, seed, options.trials)
        for sampler in options.samplers
        for seed in range(options.seeds)
        for function in options.functions
    ]
    found = known(options.cache, cases)
    for case, outcome in outcomes([case for case in cases if case not in found], options.jobs):
        found[case] = outcome
        if options.cache:
            with options.cache.open("a") as file:
                file.write(json.dumps([case, outcome]) + "\n")
    print(
        f"\nBBOB, {DIMENSION}-D, {len(options.functions)} functions, {options.trials} trials, {options.seeds} seeds: "
        "mean normalised regret (0: optimum, 1: random search)"
    )
    table(options.samplers, found)
    if "auto" in options.samplers:
        verdict(options, found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=numbers, default=[*range(1, 25)], help="numbers in 1-24, as 1,3,5-9")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument(
        "--samplers",
        type=lambda text: text.split(","),
        default=["auto", *(name for name in OPTUNA if name != "gp")],
        help=f"of {', '.join(OPTUNA)} (Optuna's), auto, and {OURS}NAME for any of the platform's",
    )
    parser.add_argument("--jobs", type=int, default=2, help="searches at once")
    parser.add_argument("--quick", action="store_true", help="a function of each group, 2 seeds")
    parser.add_argument("--cache", type=Path, help="file of results, which are not computed again")
    options = parser.parse_args()
    if options.quick:
        options.functions, options.seeds = REPRESENTATIVE, 2
    return options


def numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    if not set(found) <= set(range(1, 25)):
        raise argparse.ArgumentTypeError(f"{text}: BBOB's functions are numbered from 1 to 24")
    return found


def known(path: Path | None, cases: Iterable[Case]) -> dict[Case, Outcome]:
    if path is None or not path.exists():
        return {}
    wanted = set(cases)
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {Case(*case): Outcome(*outcome) for case, outcome in rows if Case(*case) in wanted}


def outcomes(cases: Iterable[Case], jobs: int) -> Iterator[tuple[Case, Outcome]]:
    """Run searches in so many processes, the slowest sampler first."""
    ordered = sorted(cases, key=lambda case: SLOWEST.index(case.sampler) if case.sampler in SLOWEST else len(SLOWEST))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=on_one_core) as pool:
        futures = {pool.submit(search, case): case for case in ordered}
        for future in as_completed(futures):
            yield futures[future], future.result()


def on_one_core() -> None:
    """Keep this process, with what it loads later, to one thread: the searches share the processors."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def search(case: Case) -> Outcome:
    """Run one search."""
    trials = list(evaluations(case))
    regret = min(trial.value for trial in trials) - problem_of(case.function, case.seed).optimum.y
    random = baseline(case.function, case.seed, case.trials)
    scale = math.log10(random / TARGET)
    logarithmic = math.log10(max(regret, TARGET) / TARGET) / scale
    seconds = sum(trial.seconds for trial in trials) / case.trials
    return Outcome(regret, min(regret / random, 1.0), min(logarithmic, 1.0), seconds)


def evaluations(case: Case) -> Iterator[Evaluation]:
    """The trials of one search, one at a time."""
    problem = problem_of(case.function, case.seed)
    engine: Engine = OptunaEngine(case) if case.sampler in OPTUNA else PlatformEngine(case)
    for number in range(case.trials):
        begun = time.process_time()
        point = engine.ask(number)
        seconds = time.process_time() - begun
        value = problem([point[name] for name in NAMES])
        begun = time.process_time()
        engine.tell(value)
        yield Evaluation(point, value, seconds + time.process_time() - begun)


class Engine(Protocol):
    """What suggests points, one at a time, each told before the next."""

    def ask(self, number: int) -> Mapping[str, Any]: ...

    def tell(self, value: float) -> None: ...


class OptunaEngine:
    """A study with Optuna's sampler and its defaults."""

    def __init__(self, case: Case) -> None:
        self._study = optuna.create_study(sampler=OPTUNA[case.sampler](case.seed))

    def ask(self, number: int) -> Mapping[str, Any]:
        self._trial = self._study.ask(DISTRIBUTIONS)
        return self._trial.params

    def tell(self, value: float) -> None:
        self._study.tell(self._trial, value)


class PlatformEngine:
    """The search of one job, as the platform's runner goes about it."""

    def __init__(self, case: Case) -> None:
        planned, _ = planned_search(case.sampler.removeprefix(OURS), case.trials, case.seed)
        self._points = PointSearch(EXPERIMENT, planned, (), 0)

    def ask(self, number: int) -> Mapping[str, Any]:
        point = self._points.ask(number)
        assert point is not None, "a list of points has ended"
        self._number, self._point = number, point
        return point

    def tell(self, value: float) -> None:
        self._points.tell(
            Trial(
                experiment_id=EXPERIMENT.id,
                number=self._number,
                job_id="job",
                run_number=1,
                state=TrialState.COMPLETE,
                params=self._point,
                values=(value,),
                system_attrs=self._points.system_attrs(self._number),
                started_at=EPOCH,
                ended_at=EPOCH,
            )
        )


def planned_search(name: str, trials: int, seed: int) -> tuple[Search, str | None]:
    """A job's search as it is queued; and, for `auto`, what it chose and why."""
    planned = samplers.plan(EXPERIMENT, Search(type=name, n_iter=trials, seed=seed), max_grid_points=100_000, slots=1)
    return planned.search, planned.note


def problem_of(function: int, seed: int) -> Any:
    return ioh.get_problem(function, seed + 1, DIMENSION, ioh.ProblemClass.BBOB)


@cache
def baseline(function: int, seed: int, trials: int) -> float:
    """The median regret of random search."""
    problem = problem_of(function, seed)
    rng = np.random.default_rng(100 * function + seed)
    bests = (min(map(problem, rng.uniform(LOW, HIGH, (trials, DIMENSION)))) for _ in range(BASELINES))
    return statistics.median(bests) - float(problem.optimum.y)


def table(names: Iterable[str], found: dict[Case, Outcome]) -> None:
    print(
        f"  {'':12} {'overall':>10} {'log scale':>10}" + "".join(f"{group:>12}" for group in GROUPS) + "   s/suggestion"
    )
    for name in names:
        row = {case: outcome for case, outcome in found.items() if case.sampler == name}
        means = [mean(o.normalised for o in row.values()), mean(o.logarithmic for o in row.values())]
        groups = (mean(o.normalised for case, o in row.items() if case.function in group) for group in GROUPS.values())
        seconds = statistics.mean(o.seconds for o in row.values())
        cells = "".join(f"{text:>11}" for text in means) + "".join(f"{text:>12}" for text in groups)
        print(f"  {name:12}{cells}   {seconds:12.4f}")


def mean(values: Iterable[float]) -> str:
    values = list(values)
    return f"{statistics.mean(values):.3f}" if values else "-"


def verdict(options: argparse.Namespace, found: dict[Case, Outcome]) -> None:
    print(f"  {planned_search('auto', options.trials, 0)[1]}")
    means = {
        name: statistics.mean(outcome.normalised for case, outcome in found.items() if case.sampler == name)
        for name in options.samplers
    }
    rivals = [name for name in means if name in OPTUNA]
    if rivals:
        best = min(rivals, key=means.__getitem__)
        print(
            f"  auto {means['auto']:.3f}, best single sampler of Optuna ({best}) {means[best]:.3f}; "
            "target: auto no worse"
        )


if __name__ == "__main__":
    main()
