"""What a training searches, and the points that it tries first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunesmith.automl.config import SEARCHED, Config
from tunesmith.automl.template import Template
from tunesmith.domain import Pruner, Scalar, Search, Space

WARM_UP, STEPS = 5, 2
"""Trials that are complete before any is ended early; steps that each has at least, as one fold is mostly chance."""


def search_of(template: type[Template], config: Config, space: Space) -> Search:
    """The search that a configuration asks for: its trials begin with what is known to be good."""
    asked = config.hyperparameter_search
    pruner = Pruner(type="median", options={"n_startup_trials": WARM_UP, "n_warmup_steps": STEPS})
    return Search(
        type=asked.sampler,
        n_iter=asked.n_trials,
        seed=config.training.seed,
        budget_s=asked.time_limit_s,
        max_concurrent=asked.concurrency,
        pruner=pruner if asked.prune else None,
        enqueue=tuple(first_points(template, config, space))[: asked.n_trials],
    )


def first_points(template: type[Template], config: Config, space: Space) -> Iterator[Mapping[str, Scalar]]:
    """The configuration's own values and the template's first points, as far as they lie in the space, each once."""
    own = {key: value for name in SEARCHED for key, value in getattr(config, name).model_dump(mode="json").items()}
    seen: list[Mapping[str, Scalar]] = []
    for wanted in ({}, *template.first_points(config)):
        values, point = {**own, **wanted}, dict[str, Scalar]()
        for parameter in space:
            if parameter.active(point) and parameter.name in values:
                point[parameter.name] = values[parameter.name]
        if point not in seen and not space.problems(point):
            seen.append(point)
            yield space.cast(point)
