"""What workspaces promise on every database: in one, nothing of another one is found, listed or counted."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tunesmith.domain import JobState, TrialState
from tunesmith.domain.notification import NotificationState
from tunesmith.errors import (
    ExperimentNotFound,
    JobNotFound,
    ModelNotFound,
    NotFound,
    NotificationNotFound,
    RunNotFound,
    SessionNotFound,
    TrainingNotFound,
)
from tunesmith.services import sessions
from tunesmith.store import Store, Tx
from tunesmith.testing import model_run_contract, trained_model_contract
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial, new_experiment, running_job, spec
from tunesmith.testing.notification_contract import notification
from tunesmith.testing.session_factories import prepared
from tunesmith.testing.training_contract import claim, new_training

LookUps = Mapping[str, tuple[Callable[[Tx], Any], type[NotFound] | None]]
"""What -> how it is looked up, and how it is missed; None: the answer is None then."""
LISTS: Mapping[str, Callable[[Tx], list[Any]]] = {
    "experiments": lambda tx: [experiment.id for experiment in tx.experiments().items],
    "jobs": lambda tx: [job.id for job in tx.jobs().items],
    "sessions": lambda tx: [session.id for session in tx.sessions(tx.workspace())],
    "trainings": lambda tx: [training.id for training in tx.trainings()[0]],
    "runs": lambda tx: [run.id for run in tx.runs().items],
    "models": lambda tx: [model.id for model in tx.trained_models().items],
    "notifications": lambda tx: [one.id for one in tx.notifications().items],
    "studies": lambda tx: [experiment.id for _name, experiment in tx.studies()],
}
COUNTS: Mapping[str, Callable[[Tx], int]] = {
    "trainings in all": lambda tx: tx.trainings(limit=1)[1],
    "trainings by status": lambda tx: sum(tx.training_counts().values()),
    "trials": lambda tx: tx.trial_totals()[TrialState.COMPLETE],
    "jobs": lambda tx: tx.job_totals([JobState.RUNNING])[JobState.RUNNING],
    "notifications": lambda tx: tx.notification_totals([NotificationState.DEAD])[NotificationState.DEAD],
}


def new_workspace(store: Store) -> Store:
    """The store for a new workspace."""
    with store.write() as tx:
        return store.scoped(tx.create_workspace(f"workspace-{secrets.token_hex(4)}").id)


def filled(whole: Store) -> tuple[Store, LookUps]:
    """The store for a new workspace with one of everything in it, and what finds each."""
    store = new_workspace(whole)
    experiment = new_experiment(store)
    job = running_job(whole, experiment)
    training, (session, (scenario,)) = new_training(store), prepared(store, 1)
    run, model = model_run_contract.submit(store), trained_model_contract.train(store)
    told, study = notification(secrets.randbelow(2**30), state=NotificationState.DEAD), f"study {secrets.token_hex(4)}"
    with whole.write() as tx:
        tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, 0)])
    with store.write() as tx:
        tx.add_notifications([told], tx.workspace())
        tx.create_study(tx.workspace(), study, spec(study))
    return store, {
        "experiment": (lambda tx: tx.experiment(experiment.id), ExperimentNotFound),
        "experiment to be changed": (lambda tx: tx.update_experiment(experiment.id), ExperimentNotFound),
        "one of many experiments": (lambda tx: tx.experiments_by_id([experiment.id]).get(experiment.id), None),
        "job": (lambda tx: tx.job(job.id), JobNotFound),
        "job to be changed": (lambda tx: tx.lock_job(job.id), JobNotFound),
        "training": (lambda tx: tx.training(training.id), TrainingNotFound),
        "training to be changed": (lambda tx: tx.lock_training(training.id), TrainingNotFound),
        "session": (lambda tx: tx.session(session.id), SessionNotFound),
        "session to be changed": (lambda tx: tx.lock_session(session.id), SessionNotFound),
        "scenario": (lambda tx: tx.scenario_status(session.id, scenario.id), SessionNotFound),
        "run": (lambda tx: tx.run(run.id), RunNotFound),
        "model": (lambda tx: tx.trained_model(model.id), ModelNotFound),
        "model by its job": (lambda tx: tx.trained_model(model.job_id), ModelNotFound),
        "notification": (lambda tx: tx.notification(told.id), NotificationNotFound),
        "notification to be sent": (lambda tx: tx.resend_notification(told.id), NotificationNotFound),
        "study": (lambda tx: tx.study_id(study), None),
        "study by number": (lambda tx: tx.study_id(f"{experiment.name}#{experiment.id}"), None),
        "study by its experiment's name": (lambda tx: tx.study_id(experiment.name), None),
        "study by id": (lambda tx: tx.study(experiment.id), None),
    }


class WorkspaceContract(Contract):
    """Workspaces."""

    def test_what_is_in_one_is_found_there_and_in_no_other_one(self, store: Store) -> None:
        here, look_ups = filled(store)
        elsewhere = new_workspace(store)
        for what, (look, missed) in look_ups.items():
            with elsewhere.write() as tx:
                if missed is None:
                    assert look(tx) is None, what
                else:
                    with pytest.raises(missed):
                        look(tx)
            with here.write() as tx:
                found = look(tx)
                assert found is not None, what
            if what != "notification to be sent":  # which is sent once
                with store.write() as tx:
                    assert look(tx) == found, what

    def test_each_lists_and_counts_its_own(self, store: Store) -> None:
        stores = [filled(store)[0], filled(store)[0], new_workspace(store)]
        for what, names in LISTS.items():
            listed = []
            for one in stores:
                with one.read() as tx:
                    listed.append(names(tx))
            assert listed[0], what
            assert len(listed[0]) == len(listed[1]), what
            assert not set(listed[0]) & set(listed[1]), what
            assert listed[2] == [], what
        for what, count in COUNTS.items():
            counted = []
            for one in [*stores, store]:
                with one.read() as tx:
                    counted.append(count(tx))
            assert counted == [1, 1, 0, 2], what

    def test_each_has_names_and_contents_of_its_own(self, store: Store) -> None:
        same, ids = spec(f"tool-{secrets.token_hex(4)}"), []
        for one in (new_workspace(store), new_workspace(store)):
            training = new_training(one, "nightly")
            with one.write() as tx:
                first = sessions.ensure(tx)
                assert tx.session("main") == first
                assert [listed.id for listed in sessions.listing(tx)[0]] == [first.id]
                assert tx.training_named(tx.workspace(), "nightly") == training
                experiment, created = tx.get_or_create_experiment(tx.workspace(), same)
            assert created
            ids.append((training.id, first.id, experiment.id))
        assert not set(ids[0]) & set(ids[1])

    def test_a_study_has_its_name_for_itself_in_all_of_them(self, store: Store) -> None:
        here, elsewhere, name = new_workspace(store), new_workspace(store), f"study {secrets.token_hex(4)}"
        with here.write() as tx:
            made = tx.create_study(tx.workspace(), name, spec(name))
        with elsewhere.write() as tx:
            assert tx.create_study(tx.workspace(), name, spec(name)) is None
            assert tx.study_id(name) is None
        with store.read() as tx:
            assert tx.study_id(name) == made

    def test_runners_take_the_jobs_of_all_of_them(self, store: Store) -> None:
        trainings = [new_training(new_workspace(store)) for _ in range(2)]
        assert {job.training_id for job in claim(store)} == {training.id for training in trainings}
        with store.write() as tx:
            told = {change.training_id: workspace_id for change, _rules, workspace_id in tx.take_status_changes()}
            ours = {training.id: tx.experiment(training.experiment_id).workspace_id for training in trainings}
        assert told == ours
