"""What trained models promise on every database."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.automl import Config, Facts, ModelSection, Predictor, Run, Source, Template, Trained
from tunesmith.domain import Experiment, JobState, Parameter, Progress, Search, TrainedModel, TrainerTool
from tunesmith.errors import (
    Conflict,
    InvalidConfig,
    InvalidCursor,
    MissingExtra,
    ModelNotFound,
    StateForbids,
)
from tunesmith.plugins import Plugin, Registry
from tunesmith.services import automl
from tunesmith.services.optimizing import Planned
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import finished_trial
from tunesmith.testing.session_factories import end
from tunesmith.testing.training_contract import claim

ROOT = Path("/nowhere/training")
REFERENCE = "tunesmith.testing.trained_model_contract:PLUGIN"


class GuessModel(ModelSection):
    """What the template has besides."""

    depth: int = 3
    """How deep it thinks."""


class GuessConfig(Config):
    """Its configuration."""

    model: GuessModel = GuessModel()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What is trained."""


class Guess(Template):
    """A template that is never run here."""

    name = "guess"
    Config = GuessConfig
    metric = "r2"

    @classmethod
    def space(cls, config: Any) -> tuple[Parameter, ...]:
        return (Parameter(name="depth", type="int", minimum=1, maximum=9),)

    def train(self, config: Any, data: Source, run: Run) -> Trained:
        raise NotImplementedError

    def load(self, file: Path, facts: Facts) -> Predictor:
        raise NotImplementedError


class Absent(Guess):
    """One that needs what is not there."""

    name = "absent"
    extra = "moon"
    requires = ("no_such_module_at_all",)


PLUGIN = Plugin(templates=(Guess, Absent))
REGISTRY = Registry.of(PLUGIN, REFERENCE)


def planned(experiment: Experiment, search: Search) -> Planned:
    """The search as it was asked for."""
    return search, search.n_iter, None


def train(
    store: Store, given: dict[str, Any] | None = None, template: str = "guess", who: str | None = None
) -> TrainedModel:
    """Ask for a training."""
    with store.write() as tx:
        config = {"data": {"train_path": "houses.csv"}, **(given or {})}
        return automl.train(tx, REGISTRY, template, config, ROOT, "", planned, who)


def searched(**more: Any) -> dict[str, Any]:
    """A configuration with a search."""
    return {"hyperparameter_search": {"enabled": True, "n_trials": 4, **more}}


class TrainedModelContract(Contract):
    """Models that AutoML trains."""

    def test_a_training_is_a_job_of_one_point(self, store: Store) -> None:
        model = train(store, who="ada")
        assert (model.state, model.progress, model.submitted_by) == (JobState.QUEUED, 0, "ada")
        assert not model.trained
        with store.read() as tx:
            spec = tx.experiment(model.experiment_id).spec
            assert tx.trained_model(model.job_id) == tx.trained_model(model.id)
        assert isinstance(spec.tool, TrainerTool)
        assert (spec.tool.template, spec.tool.plugin, spec.tool.data_root) == ("guess", REFERENCE, str(ROOT))
        assert spec.tool.config == model.config
        assert model.config["model"] == {"type": "guess", "input_dim": None, "output_dim": None, "depth": 3}
        end(store, model.job_id)
        with store.read() as tx:
            done = tx.trained_model(model.id)
        assert (done.state, done.progress, done.trained) == (JobState.SUCCEEDED, 100, True)

    def test_of_a_search_the_best_trial_is_the_model(self, store: Store) -> None:
        model = train(store, searched())
        with store.read() as tx:
            experiment = tx.experiment(model.experiment_id)
        assert [parameter.name for parameter in experiment.spec.space] == ["depth"]
        (job,) = [job for job in claim(store) if job.id == model.job_id]
        assert (job.search.n_iter, job.search.enqueue) == (4, ({"depth": 3},))
        for number, value in enumerate((0.4, 0.9, 0.6)):
            trial = finished_trial(job, number, value, params={"depth": number + 1}, metrics={"r2": value})
            with store.write() as tx:
                tx.record(job.id, str(job.lease_token), experiment, [trial], progress=Progress(total=4, finished=3))
        with store.read() as tx:
            found = tx.trained_model(model.id)
        assert (found.trial_number, found.params, found.trained, found.progress) == (1, {"depth": 2}, True, 75)
        assert found.metrics["r2"] == 0.9

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"modle": {}}, "modle.*model"),
            ({"model": {"dpeth": 1}}, "model.dpeth.*depth"),
            ({"model": {"depth": "deep"}}, 'model.depth is "deep".*integer'),
            ({"model": {"type": "linear"}}, "model.type"),
            ({"training": {"epochs": 0}}, "training.epochs is 0"),
            ({"data": {"train_path": "../secret.csv"}}, "data.train_path.*leads out"),
            ({"data": {"train_path": "/etc/passwd"}}, "data.train_path.*leads out"),
            ({"data": {"train_path": "a.csv", "dataset": "sales"}}, "set one of them to null"),
            (searched(space={"dpeth": [1]}), "dpeth.*depth"),
            (searched(space={"depth": 7}), "depth.*choices"),
            (searched(space={"depth": ["deep"]}), "depth.*integer"),
            (searched(models=["forest"]), "forest"),
        ],
    )
    def test_a_wrong_configuration_is_refused(self, store: Store, given: dict[str, Any], words: str) -> None:
        with store.read() as tx:
            before = len(tx.trained_models(limit=1000).items)
        with pytest.raises(InvalidConfig, match=words):
            train(store, given)
        with store.read() as tx:
            assert len(tx.trained_models(limit=1000).items) == before

    def test_what_is_not_there_is_said(self, store: Store) -> None:
        with pytest.raises(InvalidConfig, match=r"model\.type.*guess"):
            train(store, template="geuss")
        with pytest.raises(MissingExtra, match=r"pip install 'tunesmith\[moon\]'"):
            train(store, template="absent")
        with pytest.raises(InvalidConfig, match=r"data\.dataset.*sales"):
            train(store, {"data": {"dataset": "sales"}})
        with pytest.raises(ModelNotFound), store.read() as tx:
            tx.trained_model("nobody's")

    def test_it_is_stopped_until_it_has_ended(self, store: Store) -> None:
        model = train(store)
        with store.write() as tx:
            assert automl.stop(tx, model.id).state is JobState.CANCELLED
        with pytest.raises(StateForbids, match="nothing to stop"), store.write() as tx:
            automl.stop(tx, model.id)

    def test_it_is_deleted_with_all_that_is_its_own(self, store: Store) -> None:
        running, done = train(store), train(store)
        claim(store)
        with pytest.raises(StateForbids, match="stop that"), store.write() as tx:
            automl.delete(tx, running.id)
        end(store, done.job_id)
        with pytest.raises(Conflict, match="trained model"), store.write() as tx:
            tx.delete_study(done.experiment_id)
        with store.write() as tx:
            automl.delete(tx, done.id)
        with pytest.raises(ModelNotFound), store.read() as tx:
            tx.trained_model(done.id)
        with store.read() as tx:
            assert any(f"/{done.experiment_id}" in key for key in tx.leftover_keys())

    def test_pages_are_newest_first_and_narrowed(self, store: Store) -> None:
        made = [train(store).id for _ in range(3)]
        failed = train(store)
        end(store, failed.job_id, to=JobState.FAILED, error="no")
        with store.read() as tx:
            first = tx.trained_models(limit=2)
            second = tx.trained_models(cursor=first.next_cursor, limit=2)
            assert [model.id for model in (*first.items, *second.items)] == [failed.id, *made[::-1]]
            (only,) = [m for m in tx.trained_models({JobState.FAILED}, "guess").items if m.id == failed.id]
            assert (only.error, only.trained) == ("no", False)
            assert not tx.trained_models(template="other").items
            with pytest.raises(InvalidCursor):
                tx.trained_models(cursor="nonsense")
