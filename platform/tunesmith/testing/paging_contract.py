"""The store's contract on lists: pages by keyset, whole and without repetition, and cursors that are none."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import update

from tunesmith.domain import Experiment, JobState, Page, Trial, TrialState
from tunesmith.domain.page import encode_cursor
from tunesmith.errors import InvalidCursor
from tunesmith.store import Store, Tx
from tunesmith.store.tables import jobs as jobs_table
from tunesmith.testing.base import SOME_EXAMPLES, Contract
from tunesmith.testing.factories import EPOCH, finished_trial, new_experiment, queued_job, running_job

T = TypeVar("T")
Listing = Callable[[str | None], Page[T]]
EXTREMES = [[True], ["x"], [2**31], [-(2**63)], [2**64], [None], [1.5], {}, 3, [], [1e308, 2**31], ["x", "y"]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


class PagingContract(Contract):
    """Pages of experiments, jobs and trials."""

    def test_experiments_come_newest_first_and_once(self, store: Store) -> None:
        made = [new_experiment(store).id for _ in range(7)]
        with store.read() as tx:
            pages = _pages(lambda cursor: tx.experiments(cursor, limit=3))
        assert [experiment.id for page in pages for experiment in page] == made[::-1]
        assert [len(page) for page in pages] == [3, 3, 1]

    def test_a_full_last_page_has_no_cursor(self, store: Store) -> None:
        for _ in range(4):
            new_experiment(store)
        with store.read() as tx:
            assert [len(page) for page in _pages(lambda cursor: tx.experiments(cursor, limit=2))] == [2, 2]

    def test_what_is_made_between_pages_moves_nothing(self, store: Store) -> None:
        made = [new_experiment(store).id for _ in range(4)]
        with store.read() as tx:
            first = tx.experiments(limit=2)
        new_experiment(store)
        with store.read() as tx:
            second = tx.experiments(first.next_cursor, limit=2)
        assert [experiment.id for experiment in [*first.items, *second.items]] == made[::-1]

    def test_jobs_come_newest_first_and_once_also_when_queued_at_the_same_moment(self, store: Store) -> None:
        jobs = [queued_job(store, new_experiment(store)) for _ in range(7)]
        _queue_at_one_moment(store, [job.id for job in jobs[2:5]])
        with store.read() as tx:
            pages = _pages(lambda cursor: tx.jobs({JobState.QUEUED}, cursor, limit=2))
            found = [job for page in pages for job in page]
            assert sorted(job.id for job in found) == sorted(job.id for job in jobs)
            assert found == sorted(found, key=lambda job: (job.queued_at, job.id), reverse=True)
            assert not tx.jobs({JobState.FAILED}).items
            assert [job.id for job in tx.jobs(experiment_id=jobs[0].experiment_id).items] == [jobs[0].id]

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("state", [None, TrialState.COMPLETE])
    def test_trials_by_number(self, store: Store, newest_first: bool, state: TrialState | None) -> None:
        experiment = _with_values(store, [1.0, None, 3.0, None, 5.0, 6.0, 7.0])
        expected = [n for n in range(7) if state is None or n not in (1, 3)]
        with store.read() as tx:
            found = _numbers(lambda cursor: tx.trials(experiment, state, "number", cursor, 2, newest_first))
        assert found == (expected[::-1] if newest_first else expected)

    @SOME_EXAMPLES
    @given(values=st.lists(st.sampled_from([None, -1e300, -0.0, 0.0, 1.0, 1.0, 5e-324, 1e300]), max_size=9))
    def test_trials_by_value_best_first(self, store: Store, values: list[float | None]) -> None:
        for objective, sign in (("loss", 1), ("-gain", -1)):
            experiment = _with_values(store, values, objective)
            with store.read() as tx:
                found = _numbers(partial(_by_value, tx, experiment))
            valued = [(value, number) for number, value in enumerate(values) if value is not None]
            assert found == [number for _, number in sorted(valued, reverse=sign < 0)]

    def test_trials_written_between_pages_move_nothing(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        with store.write() as tx:
            tx.write_trials(experiment, [finished_trial(job, n, float(n)) for n in range(4)])
            first = tx.trials(experiment, order="value", limit=2)
            tx.write_trials(experiment, [finished_trial(job, 4, 0.5), finished_trial(job, 5, 2.5)])
            rest = tx.trials(experiment, order="value", cursor=first.next_cursor, limit=9)
        assert [trial.number for trial in [*first.items, *rest.items]] == [0, 1, 2, 5, 3]

    def test_a_page_may_be_of_one_job(self, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        with store.write() as tx:
            tx.write_trials(experiment, [finished_trial(job, 0), finished_trial(job, 1, job_id=None)])
            assert [trial.number for trial in tx.trials(experiment, job_id=job.id).items] == [0]

    @SOME_EXAMPLES
    @given(cursor=st.text() | st.builds(encode_cursor, JSON) | st.builds(encode_cursor, JSON, JSON))
    @example(cursor="W" * 5000)
    @example(cursor=encode_cursor("0001-01-01T00:00:00+14:00", "job"))
    @example(cursor=encode_cursor("2026-01-01T00:00:00Z", "\0\ud800"))
    def test_a_cursor_that_is_none_is_refused_and_nothing_worse(self, store: Store, cursor: str) -> None:
        for listing in _listings(new_experiment(store)):
            _refused_or_answered(store, listing, cursor)

    @pytest.mark.parametrize("content", EXTREMES, ids=repr)
    def test_a_cursor_of_other_content_is_refused_and_nothing_worse(self, store: Store, content: Any) -> None:
        cursor = encode_cursor(*content) if isinstance(content, list) else encode_cursor(content)
        for listing in _listings(new_experiment(store)):
            _refused_or_answered(store, listing, cursor)

    def test_a_cursor_of_another_kind_of_list_is_refused(self, store: Store) -> None:
        experiment = new_experiment(store)
        foreign = encode_cursor("2026-01-01T00:00:00+00:00", "job-1")
        with store.read() as tx:
            for listing in (
                lambda: tx.experiments(foreign),
                lambda: tx.trials(experiment, cursor=foreign),
                lambda: tx.trials(experiment, order="value", cursor=foreign),
                lambda: tx.jobs(cursor=encode_cursor(1)),
            ):
                with pytest.raises(InvalidCursor, match="start again without a cursor"):
                    listing()


def _pages(listing: Listing[T]) -> list[list[T]]:
    page = listing(None)
    pages = [list(page.items)]
    while page.next_cursor is not None:
        page = listing(page.next_cursor)
        pages.append(list(page.items))
    return pages


def _by_value(tx: Tx, experiment: Experiment, cursor: str | None) -> Page[Trial]:
    return tx.trials(experiment, order="value", cursor=cursor, limit=2)


def _numbers(listing: Listing[Any]) -> list[int]:
    return [trial.number for page in _pages(listing) for trial in page]


def _with_values(store: Store, values: list[float | None], objective: str = "loss") -> Experiment:
    experiment = new_experiment(store, (objective,))
    job = running_job(store, experiment)
    trials = [
        finished_trial(job, number, state=TrialState.FAILED) if value is None else finished_trial(job, number, value)
        for number, value in enumerate(values)
    ]
    with store.write() as tx:
        tx.write_trials(experiment, trials)
        tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
    return experiment


def _queue_at_one_moment(store: Store, job_ids: list[str]) -> None:
    with store.write() as tx:
        tx.connection.execute(update(jobs_table).where(jobs_table.c.id.in_(job_ids)).values(queued_at=EPOCH))


def _listings(experiment: Experiment) -> list[Callable[[Tx, str], Any]]:
    return [
        lambda tx, cursor: tx.experiments(cursor),
        lambda tx, cursor: tx.jobs(cursor=cursor),
        lambda tx, cursor: tx.trials(experiment, cursor=cursor),
        lambda tx, cursor: tx.trials(experiment, cursor=cursor, newest_first=True),
        lambda tx, cursor: tx.trials(experiment, order="value", cursor=cursor),
    ]


def _refused_or_answered(store: Store, listing: Callable[[Tx, str], Any], cursor: str) -> None:
    try:
        with store.read() as tx:
            assert isinstance(listing(tx, cursor), Page)
    except InvalidCursor:
        pass
