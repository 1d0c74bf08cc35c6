"""Planning a search: what is checked before a job is queued, and what is filled in."""

from __future__ import annotations

from typing import Any

import pytest

from tuners import samplers
from tuners.samplers import SAMPLERS, catalogue, plan
from tunesmith.domain import Experiment, Pruner, Search
from tunesmith.errors import GridTooLarge, InvalidOptimizer
from tunesmith.testing import memory_store
from tunesmith.testing.factories import new_experiment

LIMIT = 1000


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return new_experiment(memory_store())


@pytest.fixture(scope="module")
def two_objectives() -> Experiment:
    return new_experiment(memory_store(), objectives=("loss", "-speed"), constraints=({"metric": "size", "max": 1},))


def planned(experiment: Experiment, **fields: Any) -> tuple[Search, int | None, tuple[str, ...]]:
    return plan(experiment, Search.model_validate(fields), LIMIT)


# What is filled in


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({"type": "bayesopt", "n_init": 2, "n_iter": 2}, 4),
        ({"type": "bayesopt", "n_init": 0, "n_iter": 0}, 0),
        ({"type": "bayesopt", "n_init": 2, "n_iter": 3, "enqueue": [{"x": 0.5, "n": 1}]}, 6),
        ({"type": "grid", "num_configs_per_param": 4}, 16),
        ({"type": "grid", "num_configs_per_param": [2, 100]}, 20),
        ({"type": "grid", "num_configs_per_param": 2, "enqueue": [{"x": 0.5, "n": 1}]}, 5),
        ({"type": "random", "n_iter": 7}, 7),
        ({"type": "random", "n_iter": 0}, 0),
        ({"type": "random", "n_iter": 1, "enqueue": [{"x": 0.5, "n": 1}, {"x": 1, "n": 2}]}, 2),
        ({"type": "tpe"}, samplers.DEFAULT_TRIALS),
        ({"type": "tpe", "budget_s": 60}, None),
        ({"type": "nsga2", "n_iter": 10, "budget_s": 60}, 10),
    ],
)
def test_the_total_is_what_will_be_run(experiment: Experiment, fields: dict[str, Any], total: int | None) -> None:
    search, planned_total, warnings = planned(experiment, **fields)
    assert planned_total == total
    assert warnings == ()
    if total == samplers.DEFAULT_TRIALS:
        assert search.n_iter == total


def test_a_seed_is_drawn_and_recorded(experiment: Experiment) -> None:
    seeds = {planned(experiment, type="random", n_iter=1)[0].seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(seed is not None and 0 <= seed < 2**32 for seed in seeds)
    assert planned(experiment, type="random", n_iter=1, seed=0)[0].seed == 0


def test_options_are_checked_and_kept(experiment: Experiment) -> None:
    search, *_ = planned(experiment, type="tpe", n_iter=1, options={"n_ei_candidates": 10, "multivariate": None})
    assert search.options == {"n_ei_candidates": 10, "multivariate": None}
    assert plan(experiment, search, LIMIT)[0] == search


@pytest.mark.parametrize(
    "pruner",
    [
        Pruner(type="none"),
        Pruner(type="median"),
        Pruner(type="median", options={"n_startup_trials": 0, "n_warmup_steps": 3}),
        Pruner(type="percentile", options={"percentile": 25}),
        Pruner(type="successive_halving", options={"min_resource": 2}),
        Pruner(type="asha", options={"reduction_factor": 3}),
        Pruner(type="hyperband", options={"max_resource": 9}),
        Pruner(type="threshold", options={"upper": 1}),
    ],
)
def test_pruners_take_their_options(experiment: Experiment, pruner: Pruner) -> None:
    assert planned(experiment, type="tpe", n_iter=1, pruner=pruner)[0].pruner == pruner


def test_what_has_no_effect_is_said(two_objectives: Experiment) -> None:
    _search, _total, warnings = planned(two_objectives, type="random", n_iter=1, converge_steps=3)
    assert warnings == (
        "random is not steered by constraints; trials that break them are kept, but never the best",
        "converge_steps looks at one objective; with several the search runs to its end",
    )
    assert planned(two_objectives, type="tpe", n_iter=1)[2] == ()


# What is refused


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"type": "bayesop"}, "type", "no sampler is called 'bayesop'; did you mean 'bayesopt'? known: random, grid"),
        ({"type": "???"}, "type", "no sampler is called '???'; known: "),
        ({"type": "bayesopt"}, "n_init", "n_init is required for bayesopt; give a whole number"),
        ({"type": "bayesopt", "n_init": 2}, "n_iter", "n_iter is required for bayesopt"),
        ({"type": "grid"}, "num_configs_per_param", "num_configs_per_param is required for grid"),
        ({"type": "random", "n_init": 5}, "n_init", "n_init (5) does not belong to random, which takes n_iter; remove"),
        ({"type": "grid", "num_configs_per_param": 2, "n_iter": 9}, "n_iter", "n_iter (9) does not belong to grid"),
        ({"type": "tpe", "num_configs_per_param": 2}, "num_configs_per_param", "(2) does not belong to tpe"),
        ({"type": "tpe", "converge_thres": 0.5}, "converge_thres", "converge_thres (0.5) needs converge_steps beside"),
        ({"type": "grid", "num_configs_per_param": 1}, "num_configs_per_param", "1 is below 2; a grid has both ends"),
        ({"type": "grid", "num_configs_per_param": [2]}, "num_configs_per_param", "has 1 numbers for 2 parameters"),
        ({"type": "grid", "num_configs_per_param": 10**6}, "num_configs_per_param", "has 10,000,000 points"),
        ({"type": "tpe", "options": {"n_startup": 3}}, "n_startup", "(3); did you mean 'n_startup_trials'?"),
        ({"type": "tpe", "options": {"n_itr": 3}}, "n_itr", "unknown field 'n_itr' (3); did you mean 'n_iter'?"),
        ({"type": "random", "options": {"zzz": 1}}, "zzz", "unknown field 'zzz' (1); it takes: no options"),
        ({"type": "tpe", "options": {"n_ei_candidates": 0}}, "n_ei_candidates", "greater than or equal to 1, not 0"),
        ({"type": "tpe", "options": {"multivariate": "x"}}, "multivariate", "not 'x'"),
        ({"type": "tpe", "enqueue": [{"x": 2, "n": 1}]}, "enqueue.0", "enqueue.0: x: 2 lies outside its range"),
        ({"type": "tpe", "enqueue": [{"x": 1, "n": 1}, {"x": 1}]}, "enqueue.1", "enqueue.1: n: has no value"),
        ({"type": "tpe", "enqueue": [{"x": 1, "n": 1, "y": 1}]}, "enqueue.0", "y: no such parameter"),
    ],
)  # fmt: skip
def test_an_invalid_search_is_refused_with_field_value_and_remedy(
    experiment: Experiment, fields: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidOptimizer) as caught:
        planned(experiment, **fields)
    assert message in caught.value.message
    assert caught.value.details["field"] == field
    assert caught.value.body()["status"] == "failed"


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"type": "medium"}, "no pruner is called 'medium'; did you mean 'median'?"),
        ({"type": "median", "options": {"warmup": 1}}, "unknown option 'warmup' (1)"),
        ({"type": "percentile"}, "missing 1 required positional argument: 'percentile'"),
        ({"type": "percentile", "options": {"percentile": 200}}, "between 0 and 100"),
        ({"type": "median", "options": {"n_warmup_steps": "3"}}, "not '3'"),
        ({"type": "median", "options": {"n_warmup_steps": None}}, "not None"),
        ({"type": "hyperband", "options": {"reduction_factor": 1}}, "(hyperband): "),
        ({"type": "hyperband", "options": {"max_resource": "all"}}, "(hyperband): "),
        ({"type": "threshold"}, "Either lower or upper must be specified"),
    ],
)
def test_an_invalid_pruner_is_refused(experiment: Experiment, pruner: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptimizer) as caught:
        planned(experiment, type="tpe", n_iter=1, pruner=pruner)
    assert message in caught.value.message
    assert caught.value.details["field"] == "pruner"


def test_a_grid_that_is_too_large_is_an_error_of_its_own(experiment: Experiment) -> None:
    with pytest.raises(GridTooLarge):
        planned(experiment, type="grid", num_configs_per_param=10**400)


def test_pruning_needs_one_objective(two_objectives: Experiment) -> None:
    with pytest.raises(InvalidOptimizer, match=r"\(median\): pruning needs one objective; this experiment has 2"):
        planned(two_objectives, type="tpe", n_iter=1, pruner={"type": "median"})
    assert planned(two_objectives, type="tpe", n_iter=1, pruner={"type": "none"})


def test_the_catalogue_describes_every_sampler() -> None:
    listed = {entry["name"]: entry for entry in catalogue()}
    assert listed.keys() == SAMPLERS.keys() >= {"bayesopt", "tpe", "random", "grid"}
    for entry in listed.values():
        assert entry["description"].endswith(".")
        assert all("title" in option for option in entry["options"].values())
