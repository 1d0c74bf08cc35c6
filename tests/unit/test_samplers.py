"""Planning a search: what is checked before a job is queued, and what is filled in."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from searching import BOUNDED, FINITE, MIXED

from tuners import samplers
from tuners.samplers import SAMPLERS, Plan, catalogue, needs_history, plan, resolved
from tunesmith.domain import CallableTool, Experiment, Pruner, Search, Space, space_of
from tunesmith.errors import GridTooLarge, InvalidOptimizer, InvalidSpace
from tunesmith.testing import memory_store
from tunesmith.testing.factories import new_experiment

LIMIT = 1000


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return new_experiment(memory_store())


@pytest.fixture(scope="module")
def two_objectives() -> Experiment:
    return new_experiment(memory_store(), objectives=("loss", "-speed"), constraints=({"metric": "size", "max": 1},))


@pytest.fixture(scope="module")
def mixed() -> Experiment:
    return new_experiment(memory_store(), space=MIXED)


@pytest.fixture(scope="module")
def finite() -> Experiment:
    return new_experiment(memory_store(), space=FINITE)


@pytest.fixture(scope="module")
def bounded() -> Experiment:
    return new_experiment(memory_store(), space=BOUNDED)


@pytest.fixture(scope="module")
def by_run() -> Experiment:
    tool = CallableTool(name="m:f", define_by_run=True)
    return new_experiment(memory_store(), space=space_of([]), tool=tool)


def planned(experiment: Experiment, **fields: Any) -> Plan:
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
    found = planned(experiment, **fields)
    assert found.total == total
    assert found.warnings == ()
    if total == samplers.DEFAULT_TRIALS:
        assert found.search.n_iter == total


def test_a_seed_is_drawn_and_recorded(experiment: Experiment) -> None:
    seeds = {planned(experiment, type="random", n_iter=1).search.seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(seed is not None and 0 <= seed < 2**32 for seed in seeds)
    assert planned(experiment, type="random", n_iter=1, seed=0).search.seed == 0


def test_options_are_checked_and_kept(experiment: Experiment) -> None:
    options = {"n_ei_candidates": 10, "multivariate": None}
    search = planned(experiment, type="tpe", n_iter=1, options=options).search
    assert search.options == {"n_ei_candidates": 10, "multivariate": None}
    assert plan(experiment, search, LIMIT).search == search


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
    assert planned(experiment, type="tpe", n_iter=1, pruner=pruner).search.pruner == pruner


def test_what_has_no_effect_is_said(two_objectives: Experiment) -> None:
    assert planned(two_objectives, type="random", n_iter=1, converge_steps=3).warnings == (
        "random is not steered by constraints; trials that break them are kept, but never the best",
        "converge_steps looks at one objective; with several the search runs to its end",
    )
    assert planned(two_objectives, type="tpe", n_iter=1).warnings == ()


# What is refused


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"type": "bayesop"}, "type", "no sampler is called 'bayesop'; did you mean 'bayesopt'? known: auto, tpe"),
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


def test_several_objectives_are_pruned_by_those_that_can(two_objectives: Experiment) -> None:
    with pytest.raises(InvalidOptimizer, match=r"\(wilcoxon\): it judges one objective; this experiment has 2"):
        planned(two_objectives, type="tpe", n_iter=1, pruner={"type": "wilcoxon"})
    for name in ("none", "median"):
        assert planned(two_objectives, type="tpe", n_iter=1, pruner={"type": name})


# What the samplers can do


def test_the_catalogue_describes_every_sampler() -> None:
    listed = {entry["name"]: entry for entry in catalogue()}
    assert listed.keys() == SAMPLERS.keys() >= {"bayesopt", "tpe", "random", "grid", "auto", "pbt"}
    for entry in listed.values():
        assert entry["description"].endswith(".")
        assert all({"title", "description"} <= option.keys() for option in entry["options"].values()), entry["name"]
        assert entry["available"] == (entry["remedy"] is None)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_catalogue_tells_the_truth_about_several_objectives(name: str, two_objectives: Experiment) -> None:
    fields = dict.fromkeys(SAMPLERS[name].required, 2)
    options = {"fixed_params": {"x": 0.5}} if name == "partial_fixed" else {}
    if SAMPLERS[name].multi_objective and name != "brute_force":
        assert planned(two_objectives, type=name, options=options, **fields)
        return
    with pytest.raises(InvalidOptimizer) as caught:
        planned(two_objectives, type=name, options=options, **fields)
    assert caught.value.details["field"] == "type"


def test_a_sampler_of_one_objective_names_those_that_take_several(two_objectives: Experiment) -> None:
    with pytest.raises(InvalidOptimizer) as caught:
        planned(two_objectives, type="cmaes")
    message = caught.value.message
    assert message.startswith("optimizer.type (cmaes): it searches for one objective, and this experiment has 2; keep")
    assert "nsga2" in message
    assert "cmaes," not in message


@pytest.mark.parametrize("name", ["grid", "brute_force", "qmc", "pbt", "pb2"])
def test_functions_that_ask_for_parameters_are_searched_by_those_that_can(name: str, by_run: Experiment) -> None:
    with pytest.raises(InvalidOptimizer, match="needs the parameters beforehand, and this function asks for them"):
        planned(by_run, type=name, num_configs_per_param=2 if name == "grid" else None)
    assert planned(by_run, type="tpe").total == 100
    assert planned(by_run, type="auto").search.chosen == Pruner(type="tpe")


def test_what_a_sampler_draws_at_random_is_said(mixed: Experiment) -> None:
    assert planned(mixed, type="tpe").warnings == ()
    assert planned(mixed, type="gp").warnings == (
        "gp does not search conditional parameters; it draws level at random",
    )
    assert planned(mixed, type="cmaes").warnings == (
        "cmaes does not search categorical and conditional parameters; it draws codec, level, only at random",
    )


def test_a_sampler_that_is_not_installed_names_its_remedy(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidOptimizer, match=r"gp is not installed here; pip install 'tunesmith\[gp\]', or use one"):
        planned(experiment, type="gp")
    assert planned(experiment, type="auto").search.chosen != Pruner(type="gp")
    listed = next(entry for entry in catalogue() if entry["name"] == "gp")
    assert (listed["available"], listed["remedy"]) == (False, "pip install 'tunesmith[gp]'")


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"use_separable_cma": True, "with_margin": True}, "options", "use_separable_cma and with_margin cannot be"),
        ({"sigma0": 2}, "sigma0", "less than or equal to 1, not 2"),
        ({"restart_strategy": "ipop"}, "restart_strategy", "unknown field 'restart_strategy'"),
    ],
)
def test_options_that_contradict_are_refused(
    experiment: Experiment, options: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidOptimizer) as caught:
        planned(experiment, type="cmaes", options=options)
    assert message in caught.value.message
    assert caught.value.details["field"] == field


# Finite spaces


def test_brute_force_takes_every_point_once(finite: Experiment) -> None:
    assert planned(finite, type="brute_force").total == 5 * (1 + 5 + 1)
    assert planned(finite, type="brute_force", fixed={"codec": True}).total == 25
    assert planned(finite, type="brute_force", enqueue=[{"a": 1, "codec": 1}]).total == 35


def test_brute_force_needs_an_end_of_values(experiment: Experiment, finite: Experiment) -> None:
    with pytest.raises(InvalidOptimizer, match=r"\(brute_force\): x has no end of values; give it a step, hold it by"):
        planned(experiment, type="brute_force")
    assert planned(experiment, type="brute_force", fixed={"x": 0.5}).total == 10
    with pytest.raises(GridTooLarge, match="The space has 35 points or more; at most 20 are allowed"):
        plan(finite, Search(type="brute_force"), 20)


def test_a_grid_says_how_many_points_break_the_constraints(bounded: Experiment) -> None:
    found = planned(bounded, type="grid", num_configs_per_param=[3, 3, 2, 2])
    assert found.warnings == (f"{54 - (found.total or 0)} of 54 points break a parameter constraint and are left out",)
    assert 0 < (found.total or 0) < 54


# Constraints between parameters


def test_a_space_without_a_feasible_point_is_refused(experiment: Experiment) -> None:
    space = Space.model_validate({**experiment.spec.space.model_dump(), "constraints": ["x > n"]})
    impossible = new_experiment(memory_store(), space=space)
    with pytest.raises(InvalidSpace, match=r"parameter_constraints: .*'x > n'; widen a range, or loosen a constraint"):
        planned(impossible, type="tpe")


def test_held_parameters_may_leave_no_feasible_point(bounded: Experiment) -> None:
    assert planned(bounded, type="tpe", fixed={"lo": 0.5})
    with pytest.raises(InvalidSpace):
        planned(bounded, type="tpe", fixed={"lo": 0.95})


def test_a_point_to_try_that_breaks_a_constraint_is_refused(bounded: Experiment) -> None:
    point = {"lo": 0.5, "hi": 0.5, "n": 1, "kind": "a"}
    with pytest.raises(InvalidOptimizer, match=r"enqueue.0: it breaks 'lo \+ 0.1 < hi'"):
        planned(bounded, type="tpe", enqueue=[point])


# Held parameters


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"fixed": {"z": 1}}, "fixed.z", "fixed.z: no such parameter; there are x, n"),
        ({"fixed": {"x": 3}}, "fixed.x", "fixed.x: 3 lies outside its range; give one of its values"),
        ({"fixed": {"x": 1}, "enqueue": [{"x": 0, "n": 1}]}, "enqueue.0", "x: 0, but it is held at 1 by fixed; make"),
        ({"type": "partial_fixed"}, "fixed_params", "fixed_params is required: The parameters to hold"),
        ({"type": "partial_fixed", "options": {"fixed_params": {"x": 3}}}, "fixed.x", "3 lies outside its range"),
        (
            {"type": "partial_fixed", "options": {"fixed_params": {"x": 1}, "base": "tep"}},
            "type",
            "no sampler is called 'tep'; did you mean 'tpe'?",
        ),
        (
            {"type": "partial_fixed", "options": {"fixed_params": {"x": 1}, "base": "partial_fixed"}},
            "base",
            "partial_fixed searches with another sampler itself",
        ),
        ({"type": "partial_fixed", "options": {"fixed_params": {"x": 1}, "base": {"a": 1}}}, "base", 'needs a "type"'),
        (
            {"type": "partial_fixed", "options": {"fixed_params": {"x": 1}, "base": {"type": "tpe", "n_startup": 1}}},
            "n_startup",
            "optimizer.base (tpe): unknown field 'n_startup' (1); did you mean 'n_startup_trials'?",
        ),
    ],
)
def test_what_cannot_be_held_is_refused(
    experiment: Experiment, fields: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidOptimizer) as caught:
        planned(experiment, **({"type": "tpe"} | fields))
    assert message in caught.value.message
    assert caught.value.details["field"] == field


def test_partial_fixed_is_its_base_with_parameters_held(experiment: Experiment) -> None:
    options = {"fixed_params": {"x": 0.5}, "base": {"type": "grid"}}
    found = planned(experiment, type="partial_fixed", num_configs_per_param=3, options=options)
    assert found.total == 3
    assert resolved(found.search) == found.search.evolve(type="grid", options={}, fixed={"x": 0.5})
    for base in ({"type": "tpe", "group": True}, {"type": "tpe", "options": {"group": True}}):
        search = Search(type="partial_fixed", options={"fixed_params": {"x": 0.5}, "base": base}, fixed={"n": 1})
        assert resolved(search) == search.evolve(type="tpe", options={"group": True}, fixed={"x": 0.5, "n": 1})


# The choice of auto


def test_auto_writes_its_choice_and_its_reason_into_the_job(experiment: Experiment) -> None:
    found = planned(experiment, type="auto", n_iter=50)
    assert found.search.chosen is not None
    assert found.note is not None
    assert found.note.startswith(f"auto chose {found.search.chosen.type}: ")
    assert found.total == 50
    assert resolved(found.search).type == found.search.chosen.type


def test_auto_chooses_once(experiment: Experiment) -> None:
    chosen = Pruner(type="nsga2", options={"population_size": 10})
    found = planned(experiment, type="auto", n_iter=50, chosen=chosen)
    assert (found.search.chosen, found.note) == (chosen, None)


def test_auto_goes_through_a_small_space_whole(finite: Experiment) -> None:
    found = planned(finite, type="auto", n_iter=100)
    assert found.search.chosen == Pruner(type="brute_force")
    assert found.total == 35
    assert plan(finite, Search(type="auto", n_iter=100), 20).search.chosen != Pruner(type="brute_force")


def test_earlier_trials_are_read_where_they_matter() -> None:
    def needs(name: str, **fields: Any) -> bool:
        return needs_history(Search(type=name, **fields))

    assert all(needs(name) for name in ("tpe", "nsga2", "cmaes", "gp", "brute_force"))
    assert not any(needs(name) for name in ("random", "qmc", "grid", "pbt"))
    assert needs("random", pruner=Pruner(type="median"))
    assert not needs("auto", chosen=Pruner(type="random"))
    assert not needs("partial_fixed", options={"base": "random"})
