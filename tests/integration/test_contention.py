"""Runners, people and the dispatcher at once on PostgreSQL: nobody waits in a circle, and the books balance."""

from __future__ import annotations

import random
from collections.abc import Callable

from sqlalchemy import func, select

from tunesmith.domain import Experiment, Job, JobState, TrialState
from tunesmith.errors import JobActive, JobNotFound, LeaseLost, StateForbids
from tunesmith.services import jobs as service
from tunesmith.store import Store, Tx
from tunesmith.store.tables import trials
from tunesmith.testing import finished_trial, new_experiment, open_trial, race, search

ROUNDS = 40
Step = Callable[[Tx, Experiment, random.Random], object]


def test_everybody_at_once_ends_in_no_deadlock_and_right_counters(postgres_store: Store) -> None:
    experiments = [new_experiment(postgres_store, ("loss", "-gain")) for _ in range(2)]
    people: list[Step] = [submit, cancel, pause, resume, retry]
    groups: list[list[Step]] = [[run], [run], [claim, recover, renew], people, people]
    workers = [lambda g=group, s=seed: work(postgres_store, experiments, g, s) for seed, group in enumerate(groups)]
    assert race(*workers) == [None] * len(groups)
    with postgres_store.read() as tx:
        for experiment in experiments:
            assert sum(job.state.active for job in tx.jobs(experiment_id=experiment.id).items) <= 1
            query = select(trials.c.state, func.count()).where(trials.c.experiment_id == experiment.id)
            rows = {TrialState(state): n for state, n in tx.connection.execute(query.group_by(trials.c.state))}
            assert {state: n for state, n in tx.experiment(experiment.id).counts.items() if n} == rows
        assert tx.connection.scalar(select(func.count()).select_from(trials))


def work(store: Store, experiments: list[Experiment], steps: list[Step], seed: int) -> None:
    """Take random steps, each in a transaction of its own; a refusal is no error, anything else is."""
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        try:
            with store.write() as tx:
                rng.choice(steps)(tx, rng.choice(experiments), rng)
        except (JobActive, JobNotFound, LeaseLost, StateForbids):
            continue


def run(tx: Tx, experiment: Experiment, rng: random.Random) -> None:
    """A runner writes new trials and finishes open ones; now and then it ends its job."""
    tx.claim_jobs("runner", 60.0, 100)
    job = service.active_job(tx, experiment.id)
    first = tx.next_number(experiment.id)
    batch = [open_trial(job, first), finished_trial(job, first + 1, rng.random(), rng.random())]
    batch += [finished_trial(job, trial.number, rng.random(), 1.0) for trial in tx.open_trials(job.id)]
    tx.record(job.id, str(job.lease_token), experiment, batch)
    if rng.random() < 0.2:
        tx.end_lease(job.id, str(job.lease_token), rng.choice([JobState.SUCCEEDED, JobState.QUEUED, JobState.FAILED]))


def claim(tx: Tx, _experiment: Experiment, _rng: random.Random) -> None:
    """The dispatcher hands out what is queued."""
    tx.claim_jobs("runner", 60.0, 100)


def recover(tx: Tx, _experiment: Experiment, _rng: random.Random) -> None:
    """The dispatcher takes up what a dead runner held."""
    tx.recover_jobs(everyone=True)


def renew(tx: Tx, _experiment: Experiment, _rng: random.Random) -> None:
    """The runners prolong all their leases."""
    tx.renew_leases([str(job.lease_token) for job in tx.jobs({JobState.RUNNING}).items], 60.0)


def submit(tx: Tx, experiment: Experiment, _rng: random.Random) -> None:
    """A person posts a job."""
    tx.create_job(experiment.id, search())


def cancel(tx: Tx, experiment: Experiment, _rng: random.Random) -> None:
    """A person cancels the active job."""
    service.cancel(tx, service.active_job(tx, experiment.id).id)


def pause(tx: Tx, experiment: Experiment, _rng: random.Random) -> None:
    """A person pauses the active job."""
    service.pause(tx, service.active_job(tx, experiment.id).id)


def resume(tx: Tx, experiment: Experiment, _rng: random.Random) -> None:
    """A person resumes the active job."""
    service.resume(tx, service.active_job(tx, experiment.id).id)


def retry(tx: Tx, experiment: Experiment, rng: random.Random) -> None:
    """A person retries one of the experiment's jobs."""
    found: list[Job] = list(tx.jobs(experiment_id=experiment.id).items)
    if found:
        service.retry(tx, rng.choice(found).id)
