"""A search that is rebuilt from what SQL holds hands out the very same points as one that was never interrupted."""

from __future__ import annotations

import pytest
from searching import BOUNDED, CONTINUOUS, FINITE, MIXED, SEARCHES, experiment_of, finished, params_of, run, stored

from tuners.search import PointSearch
from tunesmith.domain import Experiment, Search, Trial

SPACES = {"continuous": CONTINUOUS, "mixed": MIXED}
CASES = [
    pytest.param(name, space, marks=pytest.mark.slow if name == "gp" and space == "mixed" else ())
    for name in SEARCHES
    for space in SPACES
]


def length(name: str) -> int:
    return {"gp": 9, "trego": 16}.get(name, 60)


def breaks(name: str) -> list[int]:
    return [5, 8] if name in ("gp", "trego") else [1, 8, 17, 18, 33, 34, 51]


def assert_resumes(experiment: Experiment, search: Search, trials: int, breaks: list[int]) -> None:
    whole = run(experiment, search, trials)
    for at in breaks:
        again = run(experiment, search, min(trials, at + 12), whole[:at])
        assert params_of(again)[at:] == params_of(whole)[at : at + 12], f"rebuilt after {at} trials"
        assert [t.system_attrs for t in again] == [t.system_attrs for t in whole[: len(again)]]


@pytest.mark.parametrize(("name", "space"), CASES)
def test_a_rebuilt_search_goes_on_as_before(name: str, space: str) -> None:
    assert_resumes(experiment_of(SPACES[space]), SEARCHES[name], length(name), breaks(name))


@pytest.mark.parametrize("name", [name for name in SEARCHES if "cmaes" not in name and name not in ("gp", "trego")])
def test_with_several_objectives_and_constraints_too(name: str) -> None:
    experiment = experiment_of(objectives=("loss", "-speed"), constraints=({"metric": "size", "min": 0.2},))
    assert_resumes(experiment, SEARCHES[name], length(name), breaks(name))


@pytest.mark.parametrize("name", [name for name in SEARCHES if name not in ("gp", "partial_fixed", "trego")])
def test_with_parameter_constraints_too(name: str) -> None:
    assert_resumes(experiment_of(BOUNDED), SEARCHES[name], 40, [9, 23])


@pytest.mark.parametrize("kind", ["grid", "brute_force"])
def test_a_list_goes_on_where_it_was(kind: str) -> None:
    search = Search(type=kind, num_configs_per_param=3 if kind == "grid" else None, enqueue=({"a": 2, "codec": 1},))
    assert_resumes(experiment_of(FINITE), search, 99, [1, 2, 7])


@pytest.mark.parametrize("name", [name for name in SEARCHES if name not in ("gp", "trego")])
def test_an_interruption_in_the_middle_of_a_trial_changes_nothing(name: str) -> None:
    experiment, search = experiment_of(MIXED), SEARCHES[name]
    whole = run(experiment, search, 30)
    for at in (0, 1, 9, 19):
        lost = stored(whole[at])
        points = PointSearch(experiment, search, [stored(trial) for trial in whole[:at]], at + 1)
        points.reopen(at, lost.params, lost.system_attrs)
        assert (points.system_attrs(at) or None) == lost.system_attrs
        points.tell(lost)
        assert params_of(go_on(points, experiment, at + 1, 30)) == params_of(whole[at + 1 :])


@pytest.mark.parametrize("name", [name for name in SEARCHES if name != "gp"])
def test_a_worker_that_dies_changes_nothing(name: str) -> None:
    experiment, search = experiment_of(CONTINUOUS), SEARCHES[name]
    whole = run(experiment, search, 24)
    points = PointSearch(experiment, search, (), 0)
    for number, trial in enumerate(whole):
        assert points.ask(number) == trial.params
        if number % 5 == 2:
            noted = points.system_attrs(number)
            points.close(number)
            points.reopen(number, trial.params, noted)
        points.tell(trial)


@pytest.mark.parametrize("name", SEARCHES)
def test_another_seed_gives_other_points(name: str) -> None:
    first, second = (params_of(run(experiment_of(), SEARCHES[name].evolve(seed=seed), 6)) for seed in (1, 2))
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_what_is_noted_is_small_and_plain() -> None:
    for name in SEARCHES.keys() - {"gp"}:
        for trial in run(experiment_of(MIXED), SEARCHES[name], 12):
            assert len(str(trial.system_attrs or "")) < 300


def go_on(points: PointSearch, experiment: Experiment, start: int, end: int) -> list[Trial]:
    done = []
    for number in range(start, end):
        params = points.ask(number)
        assert params is not None
        done.append(finished(number, params, experiment, system_attrs=points.system_attrs(number)))
        points.tell(done[-1])
    return done
