"""Requests and answers of AutoML: configurations, trainings, trained models, predictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue, model_validator

from tunesmith.automl import Template
from tunesmith.automl.config import merged, read
from tunesmith.automl.template import ARCHITECTURE
from tunesmith.domain import JobState, Measurement, Parameter, Time, TrainedModel, Trial
from tunesmith.errors import MissingExtra
from tunesmith.schemas.base import Answer, Request
from tunesmith.schemas.words import MODEL_WORDS

ModelWord: TypeAlias = Literal["initializing", "training", "paused", "completed", "failed", "stopped"]
"""Where a training stands, in the words of this surface."""
MAX_ROWS = 10_000
"""Rows of one request for predictions, at most."""
EXAMPLE_TRAIN: dict[str, Any] = {
    "config_name": "linear",
    "config_overrides": {"data": {"train_path": "houses.csv", "target": "price"}, "training": {"seed": 7}},
}


class TrainRequest(Request):
    """What to train: a whole configuration, or a template by name with what differs from its defaults."""

    model_config = {**Request.model_config, "json_schema_extra": {"examples": [EXAMPLE_TRAIN]}}

    config: Mapping[str, JsonValue] | None = None
    """The sections `model` (`type` names the template), `training`, `data`, `hyperparameter_search`, `resources`."""
    data: Mapping[str, JsonValue] | None = None
    """The section `data`, beside `config` instead of in it."""
    config_name: str | None = Field(default=None, min_length=1, max_length=200)
    """Instead of `config`: one of `/v1/configs`."""
    config_overrides: Mapping[str, JsonValue] | None = None
    """What differs from that template's defaults, merged deeply."""

    @model_validator(mode="after")
    def _one_way(self) -> TrainRequest:
        if (self.config is None) == (self.config_name is None):
            raise ValueError("send config, or config_name (with config_overrides), and not both")
        if self.config is None and self.data is not None:
            raise ValueError("data belongs beside config; write config_overrides.data")
        if self.config_name is None:
            if self.config_overrides is not None:
                raise ValueError("config_overrides belongs beside config_name; put it into config")
            self._type()
        return self

    @property
    def template(self) -> str:
        """The template's name."""
        return self.config_name or self._type()

    @property
    def given(self) -> Mapping[str, Any]:
        """What differs from the template's defaults."""
        if self.config is None:
            return self.config_overrides or {}
        return merged(self.config, {} if self.data is None else {"data": self.data})

    def _type(self) -> str:
        model = (self.config or {}).get("model")
        found = model.get("type") if isinstance(model, Mapping) else None
        if not isinstance(found, str) or not found:
            raise ValueError('config.model.type names the template, for instance {"model": {"type": "classification"}}')
        return found


class ConfigNames(Answer):
    """The templates."""

    configs: tuple[str, ...]
    """Their names, sorted."""


class ConfigAnswer(Answer):
    """A template: a configuration that runs, and what may be changed in it."""

    config: Mapping[str, JsonValue]
    """Every key with its default; it can be sent as it is."""
    description: str
    """What it trains, in a sentence."""
    families: tuple[str, ...]
    """What `model.architecture` may be, and `hyperparameter_search.models` may name."""
    metric: str
    """What a search compares trials by, unless `hyperparameter_search.metric` says otherwise."""
    search_space: tuple[Parameter, ...]
    """What a search varies, unless `hyperparameter_search.space` says otherwise."""
    config_schema: Mapping[str, Any]
    """JSON schema of the configuration: every key's type, range and meaning."""
    available: bool
    """Whether everything that it needs is installed here."""
    install: str | None
    """How to install what is missing."""

    @classmethod
    def of(cls, template: type[Template]) -> ConfigAnswer:
        """The answer for a template."""
        defaults = template.defaults()
        every = {"enabled": True, "models": ["auto"] if template.families else []}
        searched = read(template.Config, merged(defaults, {"hyperparameter_search": every}))
        return cls(
            config=defaults,
            description=template.title,
            families=template.families,
            metric=template.metric,
            search_space=template.dimensions(searched) if template.families or template.space(searched) else (),
            config_schema=template.Config.model_json_schema(),
            available=_missing(template) is None,
            install=_missing(template),
        )


class TrainAnswer(Answer):
    """A training that was begun."""

    job_id: str
    """The training, as `/api/v1/jobs` knows it."""
    model_id: str
    """The model that it will be; `GET /v1/models/{model_id}` follows it."""
    status: ModelWord
    """`initializing`."""
    metrics: Mapping[str, float]
    """None yet."""


class SearchStanding(Answer):
    """How far a search is."""

    n_trials: int
    """Trials in all."""
    finished: int
    """Trials that ended."""
    failed: int
    """Of these, failed ones."""
    best: Mapping[str, JsonValue] | None
    """The searched values of the best trial so far."""


class ModelSummary(Answer):
    """A trained model, or one that is being trained."""

    model_id: str
    """A UUID."""
    job_id: str
    """The training."""
    experiment_id: int
    """The experiment that the training is: its trials, plots and log lie there."""
    template: str
    """The template."""
    status: ModelWord
    """Where the training stands."""
    progress: int = Field(ge=0, le=100)
    """Percent of the training that is done; it never goes back."""
    message: str | None
    """What it is doing."""
    error: str | None
    """Why it failed."""
    metrics: Mapping[str, float]
    """The model's metrics; while it is trained, those of the last epoch."""
    trial: int | None
    """The trial whose model this is; of a search the best so far."""
    search: SearchStanding | None
    """How far the search is; null: there is none."""
    submitted_by: str | None
    """Who asked for it."""
    created_at: Time
    """When it was asked for."""
    started_at: Time | None
    """When it began."""
    ended_at: Time | None
    """When it ended."""
    artifact_url: str | None
    """Where the model's file is; null: there is none yet."""

    @classmethod
    def of(cls, model: TrainedModel) -> ModelSummary:
        """The answer for a model."""
        return cls.model_construct(**_summary(model))


class ModelDetail(ModelSummary):
    """The same, with its configuration and the metrics of every epoch."""

    config: Mapping[str, JsonValue]
    """The whole configuration."""
    history: tuple[Mapping[str, int | float], ...]
    """The metrics after every `step`: an epoch, or a fold of cross-validation; the newest last."""

    @classmethod
    def detailed(cls, model: TrainedModel, measured: Sequence[Measurement]) -> ModelDetail:
        """The answer for a model with what its trial measured."""
        history = history_of(measured)
        shown = _summary(model)
        if not model.trained and history:
            shown["metrics"] = {name: value for name, value in history[-1].items() if name != "step"}
        return cls.model_construct(**shown, config=model.config, history=tuple(history))


class ModelPage(Answer):
    """A page of models."""

    models: tuple[ModelSummary, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null at the end."""


class LeaderboardRow(Answer):
    """A trial of a search."""

    rank: int
    """1: the best."""
    trial: int
    """Its number."""
    architecture: str | None
    """The family of its model."""
    value: float
    """The metric that decides."""
    metrics: Mapping[str, float]
    """Everything that it measured."""
    params: Mapping[str, JsonValue]
    """Its searched values."""
    duration_s: float | None
    """Seconds that it took."""

    @classmethod
    def of(cls, rank: int, trial: Trial, own: str | None) -> LeaderboardRow:
        """The row of a complete trial. `own`: the configuration's own family, of what does not search over them."""
        family = trial.params.get(ARCHITECTURE)
        took = trial.ended_at - trial.started_at if trial.ended_at and trial.started_at else None
        return cls.model_construct(
            rank=rank,
            trial=trial.number,
            architecture=own if family is None else str(family),
            value=(trial.values or (0.0,))[0],
            metrics=trial.metrics,
            params=trial.params,
            duration_s=None if took is None else took.total_seconds(),
        )


class Leaderboard(Answer):
    """The best trials of a search."""

    metric: str
    """The metric that decides."""
    direction: Literal["minimize", "maximize"]
    """Which end of it is better."""
    trials: tuple[LeaderboardRow, ...]
    """Complete ones, the best first."""


class PredictRequest(Request):
    """Rows to predict the target of."""

    rows: tuple[Mapping[str, JsonValue], ...] = Field(min_length=1, max_length=MAX_ROWS)
    """Each a column -> value; a column that is left out, or null, is a missing value."""


class PredictAnswer(Answer):
    """What a model says of rows."""

    model_config = ConfigDict(ser_json_inf_nan="null")

    predictions: tuple[Any, ...]
    """One per row, in their order."""
    probabilities: tuple[Mapping[str, float], ...] | None
    """Of each class, per row; null: the model predicts a number."""


def history_of(measured: Sequence[Measurement]) -> list[dict[str, int | float]]:
    """Measurements as one object per step."""
    steps: dict[int, dict[str, int | float]] = {}
    for one in measured:
        steps.setdefault(one.step, {"step": one.step})[one.metric] = one.value
    return [steps[step] for step in sorted(steps)]


def model_states(word: ModelWord | None) -> Collection[JobState] | None:
    """The states that are called so; None: all."""
    return None if word is None else [state for state, called in MODEL_WORDS.items() if called == word]


def _summary(model: TrainedModel) -> dict[str, Any]:
    alike = ("job_id", "experiment_id", "template", "progress", "message", "error", "submitted_by")
    times = ("created_at", "started_at", "ended_at")
    n_trials: Any = model.config.get("hyperparameter_search", {})
    search = SearchStanding.model_construct(
        n_trials=n_trials.get("n_trials", 0),
        finished=model.finished,
        failed=model.failed,
        best=model.params if model.trained else None,
    )
    return {
        **{name: getattr(model, name) for name in (*alike, *times)},
        "model_id": model.id,
        "status": MODEL_WORDS[model.state],
        "metrics": model.metrics,
        "trial": model.trial_number,
        "search": search if model.searched else None,
        "artifact_url": f"/v1/models/{model.id}/artifact" if model.trained else None,
    }


def _missing(template: type[Template]) -> str | None:
    try:
        template.check_installed()
    except MissingExtra as error:
        return error.message.rpartition("run: ")[2]
    return None
