"""What runs of models promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import secrets
from typing import Any

import pytest

from tunesmith.domain import AlgorithmTool, JobState, ModelRun, Progress, RunFilter
from tunesmith.errors import (
    Conflict,
    Forbidden,
    InvalidCursor,
    InvalidParameter,
    ModelNotFound,
    RunNotFound,
    StateForbids,
)
from tunesmith.services import model_runs
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.session_factories import REFERENCE, REGISTRY, end
from tunesmith.testing.training_contract import claim


def submit(store: Store, submitted_by: str | None = None, **inputs: Any) -> ModelRun:
    """Run the model that doubles."""
    with store.write() as tx:
        return model_runs.submit(tx, REGISTRY, "doubling", inputs, submitted_by)


def read(store: Store, run: ModelRun) -> ModelRun:
    """How it stands now."""
    with store.read() as tx:
        return tx.run(run.id)


class ModelRunContract(Contract):
    """Runs of models."""

    def test_a_run_is_a_job_of_one_point(self, store: Store) -> None:
        run = submit(store, "ada", times=2)
        assert (run.state, run.progress, run.submitted_by) == (JobState.QUEUED, 0, "ada")
        assert run.inputs == {"start": 1.0, "times": 2}
        with store.read() as tx:
            spec = tx.experiment(run.experiment_id).spec
        assert isinstance(spec.tool, AlgorithmTool)
        assert (spec.tool.kind, spec.tool.name, spec.tool.plugin) == ("model", "doubling", REFERENCE)
        assert (spec.tool.parameters, spec.tool.files, len(spec.space)) == (run.inputs, None, 0)
        end(store, run.job_id)
        done = read(store, run)
        assert (done.state, done.progress, done.message) == (JobState.SUCCEEDED, 100, None)
        assert done.updated_at > run.updated_at

    def test_somebody_sees_the_runs_that_have_one_of_the_values(self, store: Store) -> None:
        mine = secrets.token_hex(4)
        runs = {times: submit(store, mine, times=times) for times in (1, 2, 3)}
        seen = [
            (RunFilter(), {1, 2, 3}),
            (RunFilter(attributes={"times": ("1", "3", "'); --")}), {1, 3}),
            (RunFilter(attributes={"times": ("1",), "start": ("2.0",)}), set[int]()),
            (RunFilter(attributes={"project": ("None",)}), set[int]()),
            (RunFilter(closed=frozenset({"doubling"})), set[int]()),
        ]
        for which, times in seen:
            with store.read() as tx:
                found = {run.id for run in tx.runs(submitted_by=mine, seen=which).items}
                assert found == {runs[each].id for each in times}
                for number, run in runs.items():
                    if number in times:
                        assert model_runs.read(tx, run.id, which).id == run.id
                        continue
                    with pytest.raises(RunNotFound):
                        model_runs.read(tx, run.id, which)
        with pytest.raises(Forbidden), store.write() as tx:
            model_runs.submit(tx, REGISTRY, "doubling", {"times": 2}, seen=RunFilter(attributes={"times": ("1",)}))

    def test_equal_runs_are_runs_of_their_own(self, store: Store) -> None:
        assert submit(store).experiment_id != submit(store).experiment_id

    def test_what_it_does_is_seen_while_it_runs(self, store: Store) -> None:
        run = submit(store)
        (job,) = [job for job in claim(store) if job.id == run.job_id]
        begun = read(store, run)
        with store.write() as tx:
            experiment = tx.experiment(job.experiment_id)
            told = Progress(total=1, percent=30, ran_s=0.001)
            tx.record(job.id, str(job.lease_token), experiment, [], progress=told, message="step 3 of 10")
        now = read(store, run)
        assert (now.state, now.progress, now.message) == (JobState.RUNNING, 30, "step 3 of 10")
        assert now.updated_at > begun.updated_at

    @pytest.mark.parametrize(
        ("model_id", "inputs", "kind", "words"),
        [
            ("doublign", {}, ModelNotFound, "doubling"),
            ("doubling", {"times": 4}, InvalidParameter, "times"),
            ("doubling", {"tmies": 1}, InvalidParameter, "times"),
            ("doubling", {"start": "x"}, InvalidParameter, "start"),
        ],
    )
    def test_what_cannot_run_is_refused(
        self, store: Store, model_id: str, inputs: dict[str, Any], kind: type[Exception], words: str
    ) -> None:
        with pytest.raises(kind, match=words), store.write() as tx:
            model_runs.submit(tx, REGISTRY, model_id, inputs)
        with store.read() as tx:
            assert not tx.runs(model_id=model_id).items

    def test_it_is_cancelled_until_it_has_ended(self, store: Store) -> None:
        queued, running = submit(store), submit(store)
        with store.write() as tx:
            stopped = model_runs.cancel(tx, queued.id)
        assert (stopped.state, stopped.message) == (JobState.CANCELLED, "it was cancelled")
        claim(store)
        with store.write() as tx:
            assert model_runs.cancel(tx, running.id).state is JobState.RUNNING
            assert tx.job(running.job_id).wanted == "cancelled"
        with pytest.raises(StateForbids, match="cancelled"), store.write() as tx:
            model_runs.cancel(tx, queued.id)
        with pytest.raises(RunNotFound), store.write() as tx:
            model_runs.cancel(tx, "nobody's")

    def test_a_failure_says_why(self, store: Store) -> None:
        run = submit(store)
        end(store, run.job_id, to=JobState.FAILED, error="ValueError: too much")
        assert read(store, run).message == "ValueError: too much"

    def test_pages_are_newest_first_and_whole(self, store: Store) -> None:
        mine = f"user {secrets.token_hex(4)}"
        made = [submit(store, mine).id for _ in range(5)]
        submit(store, "somebody else")
        found: list[str] = []
        cursor = None
        with store.read() as tx:
            while True:
                page = tx.runs(submitted_by=mine, cursor=cursor, limit=2)
                found += [run.id for run in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            with pytest.raises(InvalidCursor):
                tx.runs(cursor="nonsense")
        assert found == made[::-1]

    def test_lists_are_narrowed(self, store: Store) -> None:
        mine = f"user {secrets.token_hex(4)}"
        done, waiting = submit(store, mine), submit(store, mine)
        end(store, done.job_id, to=JobState.FAILED, error="no")
        stopped = submit(store, mine)
        with store.write() as tx:
            model_runs.cancel(tx, stopped.id)
            failed = tx.runs(states={JobState.FAILED, JobState.CANCELLED}, submitted_by=mine).items
            assert len(failed) == 2
            assert tx.runs(model_id="doubling", states={JobState.FAILED}, submitted_by=mine).items[0].id == done.id
            assert not tx.runs(model_id="other", submitted_by=mine).items
            assert waiting.id in [run.id for run in tx.runs(submitted_by=mine).items]

    def test_its_experiment_is_not_deleted_as_a_study(self, store: Store) -> None:
        run = submit(store)
        end(store, run.job_id)
        with pytest.raises(Conflict, match="run of a model"), store.write() as tx:
            tx.delete_study(run.experiment_id)
