"""The pruners by name: what is listed, what is built, what is refused, and with how many objectives."""

from __future__ import annotations

import inspect
from typing import Any

import optuna
import pytest

from tuners.pruners import build, build_vector, catalogue, check
from tuners.pruners.kinds import KINDS
from tuners.pruners.vector import HalvingVectors, HyperbandVectors, PercentileVectors
from tunesmith.domain import Pruner
from tunesmith.errors import InvalidOptimizer

REQUIRED: dict[str, dict[str, Any]] = {
    "percentile": {"percentile": 25},
    "threshold": {"upper": 1},
    "patient": {"patience": 2},
}
"""What a pruner cannot do without."""


def pruner(name: str, **options: Any) -> Pruner:
    return Pruner(type=name, options=options)


def refusal(given: Pruner, objectives: int = 1) -> str:
    with pytest.raises(InvalidOptimizer) as caught:
        check(given, objectives, by_vectors=True)
    assert caught.value.details["field"] == "pruner"
    return caught.value.message


# What is listed


def test_the_catalogue_describes_every_pruner_and_option() -> None:
    listed = {entry["name"]: entry for entry in catalogue()}
    assert listed.keys() == KINDS.keys()
    for entry in listed.values():
        assert entry["description"].endswith(".")
        for option in entry["options"].values():
            assert option["description"].endswith(".")
            assert option.keys() & {"type", "anyOf"}
    assert [name for name, entry in listed.items() if entry["multi_objective"]] == [
        "none", "median", "percentile", "successive_halving", "asha", "hyperband",
    ]  # fmt: skip


def test_every_pruner_of_optuna_has_a_name() -> None:
    offered = {name for name in optuna.pruners.__all__ if inspect.isclass(getattr(optuna.pruners, name))}
    assert {kind.optuna for kind in KINDS.values()} == offered - {"BasePruner"}


@pytest.mark.parametrize("name", KINDS)
def test_options_and_defaults_are_optunas(name: str) -> None:
    takes = inspect.signature(getattr(optuna.pruners, KINDS[name].optuna).__init__).parameters.values()
    renamed = {"patient": {"pruner": None}}.get(name, {})  # the wrapped pruner, which may be left out
    optunas = {
        parameter.name: parameter.default
        for parameter in takes
        if parameter.name not in ("self", "args", "kwargs", "wrapped_pruner")
    }
    ours = {
        option: inspect.Parameter.empty if field.is_required() else field.default
        for option, field in KINDS[name].options.model_fields.items()
    }
    assert ours == optunas | renamed


# What is built


@pytest.mark.parametrize("name", KINDS)
def test_each_name_builds_its_pruner(name: str) -> None:
    assert type(build(pruner(name, **REQUIRED.get(name, {})))).__name__ == KINDS[name].optuna


def test_no_pruner_is_one_that_never_prunes() -> None:
    assert isinstance(build(None), optuna.pruners.NopPruner)
    assert build_vector(None) is build_vector(pruner("none")) is None
    for objectives in (1, 2):
        check(None, objectives)
        check(pruner("none"), objectives, by_vectors=True)


def ends_at(given: Pruner, *curve: float) -> int | None:
    """The step at which a trial is pruned that comes after a good one."""
    study = optuna.create_study(pruner=build(given), sampler=optuna.samplers.RandomSampler(seed=1))
    good = study.ask()
    for step in range(20):
        good.report(step / 100, step)
    study.tell(good, 0.0)
    trial = study.ask()
    for step, value in enumerate(curve):
        trial.report(value, step)
        if trial.should_prune():
            return step
    return None


MEDIAN = {"type": "median", "n_startup_trials": 1}


def test_a_patient_pruner_waits_for_the_one_inside() -> None:
    rising = [1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    assert ends_at(pruner("median", n_startup_trials=1), *rising) == 0
    assert ends_at(pruner("patient", pruner=MEDIAN, patience=0), *rising) == 2
    assert ends_at(pruner("patient", pruner=MEDIAN, patience=3), *rising) == 5
    assert ends_at(pruner("patient", pruner=MEDIAN, patience=3, min_delta=0.15), *rising) == 6
    assert ends_at(pruner("patient", pruner="median", patience=0), *rising) is None  # it starts after five trials
    assert ends_at(pruner("patient", patience=0), *rising) == 2
    nested = {"type": "median", "options": {"n_startup_trials": 1}}
    assert ends_at(pruner("patient", pruner=nested, patience=3), *rising) == 5


def test_the_wilcoxon_rule_compares_with_the_best_trial_step_by_step() -> None:
    assert ends_at(pruner("wilcoxon"), *[5.0] * 20) == 3  # the first at which a test can be that sure
    assert ends_at(pruner("wilcoxon", p_threshold=0.01), *[5.0] * 20) == 6
    assert ends_at(pruner("wilcoxon"), *[-5.0] * 20) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("median", PercentileVectors),
        ("percentile", PercentileVectors),
        ("successive_halving", HalvingVectors),
        ("asha", HalvingVectors),
        ("hyperband", HyperbandVectors),
    ],
)
def test_what_judges_several_objectives_is_built_for_them(name: str, kind: type) -> None:
    given = pruner(name, **REQUIRED.get(name, {}))
    check(given, 3, by_vectors=True)
    assert type(build_vector(given)) is kind


# What is refused


def test_what_judges_one_objective_only_is_refused_for_several() -> None:
    assert refusal(pruner("wilcoxon"), 2) == (
        "optimizer.pruner (wilcoxon): it judges one objective; this experiment has 2. "
        "Those that judge several: none, median, percentile, successive_halving, asha, hyperband"
    )
    assert build_vector(pruner("wilcoxon")) is None
    with pytest.raises(InvalidOptimizer, match="pruning needs one objective; this experiment has 2"):
        check(pruner("median"), 2)


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("medain", {}, "no pruner is called 'medain'; did you mean 'median'? known: none, median, "),
        ("median", {"n_warmup": 1}, "(median): unknown option 'n_warmup' (1); did you mean 'n_warmup_steps'?"),
        ("asha", {"zzz": 1}, "it takes: bootstrap_count, min_early_stopping_rate, min_resource, reduction_factor"),
        ("median", {"n_startup_trials": -1}, "n_startup_trials: Input should be greater than or equal to 0, not -1"),
        ("median", {"interval_steps": True}, "interval_steps: Input should be a valid integer, not True"),
        ("percentile", {}, "missing 1 required positional argument: 'percentile'; Percentage of the trials that go on"),
        ("percentile", {"percentile": -1}, "percentile: Input should be between 0 and 100, not -1"),
        ("percentile", {"percentile": float("nan")}, "percentile: Input should be a finite number, not nan"),
        ("asha", {"min_resource": "all"}, "min_resource: Input should be a valid integer or 'auto', not 'all'"),
        ("asha", {"min_resource": 0}, "min_resource: Input should be greater than or equal to 1 or 'auto', not 0"),
        ("asha", {"reduction_factor": 1}, "reduction_factor: Input should be greater than or equal to 2, not 1"),
        ("asha", {"min_early_stopping_rate": 10**9}, "min_early_stopping_rate: Input should be between 0 and 62"),
        ("asha", {"bootstrap_count": 1}, "bootstrap_count > 0 and min_resource == 'auto' are mutually incompatible"),
        ("hyperband", {"min_resource": 9, "max_resource": 3}, "max_resource (3) lies below min_resource (9)"),
    ],
)
def test_a_wrong_option_is_refused_with_its_name_value_and_remedy(
    name: str, options: dict[str, Any], message: str, objectives: int
) -> None:
    assert message in refusal(pruner(name, **options), objectives)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pruner": "median"}, "(patient): missing 1 required positional argument: 'patience'; Steps in a row"),
        ({"pruner": "medain", "patience": 1}, "(patient).pruner: no pruner is called 'medain'; did you mean 'median'?"),
        ({"pruner": ["median"], "patience": 1}, "pruner: Input should be a valid string or a valid dictionary, not ["),
        ({"pruner": {"patience": 1}, "patience": 1}, '(patient).pruner: needs a "type", for instance {"type": "med'),
        ({"pruner": "patient", "patience": 1}, "(patient).pruner: patient cannot wrap itself"),
        (
            {"pruner": {"type": "percentile", "percentile": "9"}, "patience": 1},
            "optimizer.pruner (patient).pruner (percentile): percentile: Input should be a valid number, not '9'",
        ),
        (
            {"pruner": {"type": "median", "options": 3}, "patience": 1},
            "(patient).pruner (median): unknown option 'options' (3)",
        ),
    ],
)
def test_what_is_wrong_inside_a_patient_pruner_is_found_there(options: dict[str, Any], message: str) -> None:
    assert message in refusal(pruner("patient", **options))
