"""What scenarios promise on every database: their states, and what these allow."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tunesmith.domain import AlgorithmTool, JobState, KpiSpec, Progress
from tunesmith.errors import (
    AlgorithmNotFound,
    Conflict,
    DatasetNotFound,
    ExperimentNotFound,
    InvalidBody,
    InvalidParameter,
    NameTaken,
    ScenarioNotFound,
    SessionNotFound,
    StateForbids,
)
from tunesmith.services import scenarios
from tunesmith.storage import experiment_key
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.races import race
from tunesmith.testing.session_factories import (
    REFERENCE,
    REGISTRY,
    end,
    left_over,
    new_scenario,
    new_session,
    prepared,
    read,
    run,
)
from tunesmith.testing.training_contract import claim


class ScenarioContract(Contract):
    """Scenarios."""

    def test_it_is_made_with_all_parameters(self, store: Store) -> None:
        session, _ = prepared(store)
        scenario = new_scenario(store, session, speed=2)
        assert scenario.parameters == {"boxes": 3, "speed": 2.0, "order": "size", "turned": False, "label": ""}
        assert (scenario.state, scenario.progress, scenario.job_id) == (JobState.CREATED, 0, None)
        with store.read() as tx:
            assert tx.scenarios(session.id) == [scenario]
            assert tx.scenario_status(session.display_name, scenario.id).state is JobState.CREATED

    @pytest.mark.parametrize(
        ("changes", "kind", "words"),
        [
            ({"algo_name": "Pakc", "dataset_key": "other", "tag": "taken"}, AlgorithmNotFound, "Pack"),
            ({"dataset_key": "other", "tag": "taken"}, DatasetNotFound, "other"),
            ({"tag": "taken", "algo_params": {"boxes": 0}}, NameTaken, "taken"),
            ({"tag": "  "}, InvalidBody, "blank"),
            ({"algo_params": {"boxes": 0}}, InvalidParameter, "boxes"),
            ({"algo_params": {"boxse": 1}}, InvalidParameter, "boxes"),
            ({"algo_params": {}}, InvalidParameter, "boxes.*required"),
            ({"algo_params": {"boxes": 1, "speed": "fast"}}, InvalidParameter, "speed"),
            ({"data_params": {"of": 1}}, InvalidParameter, "data"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, store: Store, changes: dict[str, Any], kind: type[Exception], words: str
    ) -> None:
        session, _ = prepared(store)
        new_scenario(store, session, "taken")
        asked = {"tag": "new", "dataset_key": "data", "algo_name": "Pack", "algo_params": {"boxes": 1}} | changes
        with pytest.raises(kind, match=words), store.write() as tx:
            scenarios.create(tx, REGISTRY, session, **asked)
        with store.read() as tx:
            assert len(tx.scenarios(session.id)) == 1

    def test_of_two_that_take_a_tag_at_once_one_gets_it(self, store: Store) -> None:
        session, _ = prepared(store)
        answers = race(*[partial(new_scenario, store, session, "tag")] * 3)
        assert sorted(type(answer).__name__ for answer in answers) == ["NameTaken", "NameTaken", "Scenario"]

    def test_a_run_is_a_job_of_one_point(self, store: Store) -> None:
        session, (scenario,) = prepared(store, 1)
        (asked,) = run(store, session, scenario)
        assert (asked.state, asked.trial_number) == (JobState.QUEUED, 0)
        with store.read() as tx:
            experiment = tx.experiment(asked.experiment_id or 0)
        tool = experiment.spec.tool
        assert isinstance(tool, AlgorithmTool)
        assert (tool.plugin, tool.name) == (REFERENCE, "Pack")
        cost = KpiSpec(name="Cost", better_when="LOWER", unit="EUR")
        assert tool.kpis == (cost, KpiSpec(name="Fill rate", better_when="AT_LEAST", threshold=0.0))
        assert (tool.parameters, experiment.spec.trial_timeout_s) == (scenario.parameters, 30.0)
        end(store, asked.job_id, {"Cost": 6.0, "Fill_rate": 0.0})
        done = read(store, asked)
        assert (done.state, done.progress, done.error) == (JobState.SUCCEEDED, 100, None)
        assert (done.metrics["Cost"], done.metrics["Fill_rate"]) == (6.0, 0.0)
        assert None not in (done.started_at, done.ended_at)

    def test_its_progress_is_its_jobs(self, store: Store) -> None:
        session, (scenario,) = prepared(store, 1)
        (asked,) = run(store, session, scenario)
        (job,) = [job for job in claim(store) if job.id == asked.job_id]
        with store.write() as tx:
            experiment = tx.experiment(job.experiment_id)
            tx.record(job.id, str(job.lease_token), experiment, [], progress=Progress(total=1, percent=42))
            assert tx.scenario_status(session.id, scenario.id).progress == 42
            assert tx.scenario_status(session.id, scenario.id).state is JobState.RUNNING
            assert tx.processing(session.id) == tx.scenario(session.id, scenario.id)
        end(store, asked.job_id)
        with store.read() as tx:
            assert tx.processing(session.id) is None
            assert tx.scenario_status(session.id, scenario.id).progress == 100

    def test_its_status_is_asked_for_in_its_session(self, store: Store) -> None:
        _session, (scenario,) = prepared(store, 1)
        other = new_session(store)
        with store.read() as tx:
            with pytest.raises(ScenarioNotFound):
                tx.scenario_status(other.id, scenario.id)
            with pytest.raises(ScenarioNotFound):
                tx.scenario(other.id, scenario.id)
            with pytest.raises(SessionNotFound):
                tx.scenario_status("nobody's", scenario.id)

    def test_a_failure_is_told_in_the_trials_words(self, store: Store) -> None:
        session, (scenario,) = prepared(store, 1)
        (asked,) = run(store, session, scenario)
        end(store, asked.job_id, to=JobState.FAILED, error="ValueError: no boxes")
        failed = read(store, scenario)
        assert (failed.state, failed.error) == (JobState.FAILED, "ValueError: no boxes")

    def test_one_that_was_cancelled_says_so(self, store: Store) -> None:
        session, (queued, running) = prepared(store, 2, max_parallel=2)
        (asked,) = run(store, session, running)
        claim(store)
        run(store, session, queued)
        with store.write() as tx:
            stopped = scenarios.cancel(tx, session, queued.id)
            assert scenarios.cancel(tx, session, running.id).state is JobState.RUNNING
            assert tx.job(str(asked.job_id)).wanted == "cancelled"
        assert (stopped.state, stopped.error) == (JobState.CANCELLED, "it was cancelled")
        end(store, asked.job_id, to=JobState.CANCELLED)
        assert read(store, running).error == "it was cancelled"

    def test_a_state_forbids_what_makes_no_sense(self, store: Store) -> None:
        session, (scenario,) = prepared(store, 1)

        def refuses(*steps: Any) -> None:
            for step in steps:
                with pytest.raises(StateForbids) as caught, store.write() as tx:
                    step(tx, session, scenario.id)
                assert caught.value.details["state"] == read(store, scenario).state.value

        again = lambda tx, session, scenario_id: scenarios.run(tx, REGISTRY, session, scenario_id)  # noqa: E731
        refuses(scenarios.reset, scenarios.cancel)
        (asked,) = run(store, session, scenario)
        refuses(again, scenarios.reset)
        claim(store)
        refuses(again, scenarios.reset, scenarios.delete)
        end(store, asked.job_id)
        refuses(again, scenarios.cancel)
        with store.write() as tx:
            assert scenarios.reset(tx, session, scenario.id).state is JobState.CREATED
        (second,) = run(store, session, scenario)
        assert (second.experiment_id, second.metrics) == (asked.experiment_id, {})

    def test_it_is_deleted_with_its_runs(self, store: Store) -> None:
        session, (done, queued) = prepared(store, 2)
        (asked,) = run(store, session, done)
        end(store, asked.job_id)
        run(store, session, queued)
        with store.write() as tx:
            scenarios.delete(tx, session, done.id)
            scenarios.delete(tx, session, queued.id)
            with pytest.raises(ScenarioNotFound):
                scenarios.delete(tx, session, done.id)
            with pytest.raises(ExperimentNotFound):
                tx.experiment(asked.experiment_id or 0)
            assert tx.scenarios(session.id) == []
        assert experiment_key(asked.experiment_id or 0) in left_over(store)

    def test_its_experiment_is_not_deleted_as_a_study(self, store: Store) -> None:
        session, (scenario,) = prepared(store, 1)
        (asked,) = run(store, session, scenario)
        end(store, asked.job_id)
        with pytest.raises(Conflict, match="scenario"), store.write() as tx:
            tx.delete_study(asked.experiment_id or 0)
