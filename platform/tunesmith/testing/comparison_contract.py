"""What comparisons of scenarios, and searches over their parameters, promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import uuid
from typing import Any

import pytest

from tunesmith.domain import AlgorithmTool, Experiment, Job, JobState, Parameter, Search, Session
from tunesmith.errors import (
    BadRequest,
    DataInUse,
    DatasetNotFound,
    InvalidOptimizer,
    InvalidParameter,
    InvalidSpace,
    JobActive,
    ScenarioNotFound,
    TrialNotFound,
)
from tunesmith.plugins import Plugin, Registry
from tunesmith.services import comparing, datasets, scenarios, sessions
from tunesmith.services.optimizing import Optimization, Planned, optimize
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, spec
from tunesmith.testing.session_factories import (
    REFERENCE,
    REGISTRY,
    Cost,
    Pack,
    end,
    new_dataset,
    new_session,
    prepared,
    run,
)
from tunesmith.testing.training_contract import claim

BOXES = Parameter(name="boxes", type="int", minimum=1, maximum=60)


def random_plan(experiment: Experiment) -> Planned:
    """Three points."""
    return Search(type="random", n_iter=3, seed=1), 3, None


def optimized(store: Store, session: Session, **asked: Any) -> tuple[Experiment, Job]:
    """Optimize the number of boxes by their cost."""
    content: dict[str, Any] = {"parameters": [BOXES], "objectives": [("Cost", None)]}
    with store.write() as tx:
        asking = Optimization(algo_name="Pack", dataset_key="data", **(content | asked))
        return optimize(tx, REGISTRY, session, asking, random_plan)


def record_costs(store: Store, job: Job, costs: dict[int, float]) -> None:
    """Let a job's trials end with these costs by number of boxes, and the job with them."""
    (held,) = [found for found in claim(store) if found.id == job.id]
    with store.write() as tx:
        experiment = tx.experiment(job.experiment_id)
        found = [
            finished_trial(held, number, cost, params={"boxes": boxes})
            for number, (boxes, cost) in enumerate(costs.items())
        ]
        tx.record(job.id, str(held.lease_token), experiment, found)
        tx.end_lease(job.id, str(held.lease_token), JobState.SUCCEEDED)


class CostInCents(Cost):
    """The same, in another unit and with a limit."""

    name = "Cost"
    unit = "ct"
    threshold = 500


class ComparisonContract(Contract):
    """Scenarios side by side, and searches over their parameters."""

    def test_the_best_of_each_kpi_is_marked(self, store: Store) -> None:
        session, found = prepared(store, 4, max_parallel=4)
        asked = run(store, session, *found[:3])
        for scenario, (cost, rate) in zip(asked, [(3.0, 0.5), (2.0, 0.0), (2.0, 0.25)], strict=True):
            end(store, scenario.job_id, {"Cost": cost, "Fill_rate": rate})
        ids = [scenario.id for scenario in found]
        with store.read() as tx:
            table = comparing.compare(tx, REGISTRY, session, [*ids, ids[0]])
            with pytest.raises(ScenarioNotFound):
                comparing.compare(tx, REGISTRY, session, [*ids, str(uuid.uuid4())])
        assert [column.status for column in table.scenarios] == ["complete"] * 3 + ["created"]
        lower, at_least = table.rows
        assert (lower.kpi, lower.unit, lower.better_when, lower.threshold) == ("Cost", "EUR", "LOWER", None)
        assert list(lower.values.values()) == [3.0, 2.0, 2.0, None]
        assert lower.best == (ids[1], ids[2])
        assert (at_least.kpi, at_least.threshold, at_least.best) == ("Fill rate", 0.0, (ids[0],))

    def test_each_scenario_is_measured_as_its_kpis_were_when_it_ran(self, store: Store) -> None:
        session, (old, new, idle) = prepared(store, 3, max_parallel=3)
        (asked,) = run(store, session, old)
        end(store, asked.job_id, {"Cost": 3.0, "Fill_rate": 0.5})
        later = Registry.of(Plugin(algorithms=[Pack], kpis=[CostInCents]), REFERENCE)
        with store.write() as tx:
            asked = scenarios.run(tx, later, session, new.id)
        end(store, asked.job_id, {"Cost": 200.0})
        with store.read() as tx:
            table = comparing.compare(tx, later, session, [idle.id, old.id, new.id])
            assert [kpi.name for kpi in tx.scenario(session.id, old.id).kpis] == ["Cost", "Fill rate"]
        assert [(row.kpi, row.unit, row.threshold, list(row.values.values()), row.best) for row in table.rows] == [
            ("Cost", "ct", 500.0, [None, None, 200.0], (new.id,)),
            ("Cost", "EUR", None, [None, 3.0, None], (old.id,)),
            ("Fill rate", None, 0.0, [None, 0.5, None], (old.id,)),
        ]
        with store.write() as tx:
            reset = scenarios.reset(tx, session, old.id)
            assert [kpi.unit for kpi in scenarios.measured_by(later, reset)] == ["ct"]

    def test_an_optimization_is_an_experiment_over_parameters(self, store: Store) -> None:
        session, _ = prepared(store)
        experiment, job = optimized(store, session, algo_params={"speed": 2}, objectives=[("Fill rate", None)])
        tool = experiment.spec.tool
        assert isinstance(tool, AlgorithmTool)
        assert tool.parameters == {"speed": 2.0, "order": "size", "turned": False, "label": ""}
        assert [(o.metric, o.direction) for o in experiment.spec.objectives] == [("Fill_rate", "maximize")]
        assert (job.state, job.progress.total) == (JobState.QUEUED, 3)
        with pytest.raises(JobActive):
            optimized(store, session, algo_params={"speed": 2}, objectives=[("Fill rate", None)])
        with pytest.raises(DataInUse), store.write() as tx:
            datasets.delete(tx, session, "data")
        record_costs(store, job, {1: 2.0})
        again, _job = optimized(store, session, algo_params={"speed": 2}, objectives=[("Fill rate", None)])
        assert again.id == experiment.id

    @pytest.mark.parametrize(
        ("asked", "kind", "words"),
        [
            ({"parameters": [{"name": "boxse", "minimum": 1, "maximum": 2}]}, InvalidParameter, "boxse"),
            ({"parameters": [{"name": "boxes", "minimum": 1, "maximum": 2}]}, InvalidParameter, "boxes.*as int"),
            (
                {"parameters": [{"name": "boxes", "type": "int", "minimum": 1, "maximum": 61}]},
                InvalidParameter,
                "boxes.*61",
            ),
            (
                {"parameters": [{"name": "label", "type": "categorical", "choices": ["a"]}]},
                InvalidParameter,
                "label.*string",
            ),
            (
                {"parameters": [{"name": "order", "type": "categorical", "choices": ["size", "age"]}]},
                InvalidParameter,
                "order.*age",
            ),
            (
                {"parameters": [{"name": "turned", "type": "categorical", "choices": [1, 0]}]},
                InvalidParameter,
                "turned",
            ),
            ({"algo_params": {"boxes": 3}}, InvalidParameter, "boxes.*fixed"),
            ({"algo_params": {"speed": "x"}}, InvalidParameter, "speed"),
            ({"objectives": [("Csot", None)]}, BadRequest, "Cost"),
            ({"constraints": ["boxes <"]}, InvalidSpace, "parameters"),
        ],
    )
    def test_a_space_that_the_algorithm_does_not_take_is_refused(
        self, store: Store, asked: dict[str, Any], kind: type[Exception], words: str
    ) -> None:
        session, _ = prepared(store)
        space = [Parameter.model_validate(parameter) for parameter in asked.get("parameters", [])]
        fixed = {} if any(parameter.name == "boxes" for parameter in space) else {"algo_params": {"boxes": 1}}
        with pytest.raises(kind, match=words):
            optimized(store, session, **(asked | ({"parameters": space} | fixed if space else {})))

    def test_a_refused_optimizer_leaves_nothing(self, store: Store) -> None:
        session, _ = prepared(store)

        def refuse(experiment: Experiment) -> Planned:
            raise InvalidOptimizer(f"no such sampler for {experiment.id}")

        asked = Optimization("Pack", "data", [BOXES], [("Cost", "minimize")])
        with pytest.raises(InvalidOptimizer), store.write() as tx:
            optimize(tx, REGISTRY, session, asked, refuse)
        with store.read() as tx:
            assert not tx.experiments(search="Pack").items

    def test_a_scenario_is_made_of_the_best_trial_or_another(self, store: Store) -> None:
        session, _ = prepared(store)
        experiment, job = optimized(store, session, algo_params={"speed": 2})
        with pytest.raises(TrialNotFound), store.write() as tx:
            scenarios.from_trial(tx, REGISTRY, session, experiment.id, None, "best")
        record_costs(store, job, {9: 18.0, 2: 4.0, 5: 10.0})
        with store.write() as tx:
            best = scenarios.from_trial(tx, REGISTRY, session, experiment.id, None, "best")
            other = scenarios.from_trial(tx, REGISTRY, session, experiment.id, 0, "other")
            with pytest.raises(TrialNotFound):
                scenarios.from_trial(tx, REGISTRY, session, experiment.id, 17, "none")
        assert (best.parameters["boxes"], other.parameters["boxes"]) == (2, 9)
        assert (best.parameters["speed"], best.state) == (2.0, JobState.CREATED)

    def test_a_trial_is_taken_where_its_data_are(self, store: Store) -> None:
        session, _ = prepared(store)
        experiment, job = optimized(store, session)
        record_costs(store, job, {2: 4.0})
        with store.write() as tx:
            copy = sessions.copy(tx, session, str(uuid.uuid4()))
            assert scenarios.from_trial(tx, REGISTRY, copy, experiment.id, None, "best").parameters["boxes"] == 2
        elsewhere = new_session(store)
        with pytest.raises(DatasetNotFound), store.write() as tx:
            scenarios.from_trial(tx, REGISTRY, elsewhere, experiment.id, None, "best")
        with store.write() as tx:
            plain = tx.own_experiment(session.workspace_id, str(uuid.uuid4()), "x", spec()).id
            with pytest.raises(BadRequest, match="optimize"):
                scenarios.from_trial(tx, REGISTRY, session, plain, None, "best")

    def test_an_optimization_outlives_its_data_archived(self, store: Store) -> None:
        session, _ = prepared(store)
        experiment, job = optimized(store, session)
        record_costs(store, job, {2: 4.0})
        new_dataset(store, session, overwrite=True)
        with store.write() as tx:
            assert tx.experiment(experiment.id).archived
            scenarios.from_trial(tx, REGISTRY, session, experiment.id, None, "best")
        later, waiting = optimized(store, session)
        assert later.id != experiment.id
        with store.write() as tx:
            sessions.delete(tx, session)
            assert tx.experiment(later.id).archived
            assert tx.job(waiting.id).state is JobState.CANCELLED
