"""Dispatching: what is due is begun, and queued jobs are claimed for whoever runs them."""

from __future__ import annotations

import logging

from tunesmith.domain import Job
from tunesmith.services.firing import fire_due
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.agenda import Agenda

log = logging.getLogger("tunesmith.dispatcher")


def look(store: Store) -> Agenda:
    """What is to be done now; trials whose workers went silent go back, and what is due is queued.

    Raises DatabaseUnavailable.
    """
    with store.read() as tx:
        agenda = tx.agenda()
    for experiment_id in agenda.expired:
        with store.write() as tx:
            tx.put_back_expired(tx.experiment(experiment_id))
    if agenda.fires:
        fire_due(store)
    return agenda


def claim(store: Store, agenda: Agenda, owner: str, settings: Settings, recover: bool = True) -> list[Job]:
    """The queued jobs that `owner` runs from now on. `recover`: jobs whose lease ran out are queued again before.

    Raises DatabaseUnavailable.
    """
    if not (agenda.fires or agenda.retries or agenda.dispatches):
        return []
    with store.write() as tx:
        for job in tx.recover_jobs() if recover else ():
            log.warning("job %s lost its runner; it is %s now", job.id, job.state)
        if agenda.retries:
            tx.wake_retries()
        return tx.claim_jobs(owner, settings.lease_s, settings.max_running_jobs)
