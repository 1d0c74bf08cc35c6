"""Analyses of an experiment's trials, as data and as figures, kept until the next trial."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Response
from pydantic import BaseModel

from serve_app.answers import answer
from serve_app.context import Context, Here
from serve_app.routes.parameters import ExperimentId
from serve_app.strict import WORKERS, surface
from tuners.analysis import answering
from tuners.analysis.cache import Cache
from tuners.analysis.query import MAX_TRIALS
from tuners.analysis.query import Query as Question
from tunesmith.schemas.analysis import (
    AnalysesAnswer,
    ContourAnswer,
    EdfAnswer,
    Evaluator,
    FigureAnswer,
    HistoryAnswer,
    ImportancesAnswer,
    IntermediateAnswer,
    ParallelAnswer,
    ParetoAnswer,
    SliceAnswer,
    TimelineAnswer,
)

router = surface("/api/v1/experiments/{experiment_id}/analysis", ["analysis"], refuses=(404,))
CACHE_BYTES = 64_000_000
"""Answers that a process keeps, in bytes."""
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "What has this `ETag` is still the answer."}}
cache = Cache(CACHE_BYTES)

Objective = Annotated[
    str | None, Query(max_length=200, description="The metric; without it the first objective.", examples=["loss"])
]
Objectives = Annotated[
    str | None,
    Query(max_length=700, description="Two or three metrics, with commas; without it all of them (a figure: three)."),
]
Params = Annotated[
    str | None,
    Query(max_length=10_000, description="Parameters, with commas; without it the first ones.", examples=["lr,depth"]),
]
MaxTrials = Annotated[
    int | None,
    Query(ge=1, le=MAX_TRIALS, description="Trials that are shown, at most."),
]
Form = Annotated[
    Literal["data", "plotly"], Query(alias="format", description="`data`: arrays; `plotly`: a figure as JSON.")
]
Seen = Annotated[
    str | None, Header(alias="If-None-Match", description="The `ETag` of an answer: 304 while it is still the answer.")
]


@dataclass(frozen=True)
class Asked:
    """What all analyses are asked alike."""

    here: Context
    """The surroundings."""
    experiment_id: int
    """The experiment."""
    form: Literal["data", "plotly"]
    """Arrays, or a figure."""
    seen: str | None
    """`If-None-Match`."""

    async def answer(self, kind: str, objective: str | None = None, params: str | None = None, **more: Any) -> Response:
        """The analysis, or that it is the one that was seen. No thread waits for an answer that another one makes."""
        question = Question(kind, _names(objective), _names(params), form=self.form, **more)
        store, loop = self.here.store, asyncio.get_running_loop()
        look = partial(answering.look, store, self.experiment_id, question)
        experiment, name = await loop.run_in_executor(WORKERS, look)
        headers = {"ETag": f'"{name}"', "Cache-Control": "no-cache"}
        if _matches(self.seen, name):
            return Response(status_code=304, headers=headers)
        made = cache.get(name, partial(answering.answer, store, experiment, question))
        # Shielded: who gives up must not take it away from the others who wait for it.
        body = await asyncio.shield(asyncio.wrap_future(made))
        return Response(body, 200, headers, "application/json")


async def _asked(here: Here, experiment_id: ExperimentId, form: Form = "data", seen: Seen = None) -> Asked:
    return Asked(here, experiment_id, form, seen)


Plot = Annotated[Asked, Depends(_asked)]


@router.get("", summary="List analyses", response_model=AnalysesAnswer)
def list_analyses(here: Here, experiment_id: ExperimentId) -> Response:
    """Every analysis, whether it fits the experiment as it stands, and why it does not."""
    with here.store.read() as tx:
        return answer(answering.kinds(tx, tx.experiment(experiment_id)))


def _said(summary: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"summary": summary, "response_model": model | FigureAnswer, "responses": UNCHANGED}


@router.get("/history", **_said("Values by number", HistoryAnswer))
async def plot_history(plot: Plot, objective: Objective = None, max_trials: MaxTrials = None) -> Response:
    """Complete trials by number, and the best so far, which is reckoned over all of them."""
    return await plot.answer("history", objective, max_trials=max_trials)


@router.get("/slice", **_said("Parameters against the objective", SliceAnswer))
async def plot_slice(
    plot: Plot, objective: Objective = None, params: Params = None, max_trials: MaxTrials = None
) -> Response:
    """Each parameter on its own, 20 at most."""
    return await plot.answer("slice", objective, params, max_trials=max_trials)


@router.get("/contour", **_said("The objective over two parameters", ContourAnswer))
async def plot_contour(
    plot: Plot, objective: Objective = None, params: Params = None, max_trials: MaxTrials = None
) -> Response:
    """Every pair of up to four parameters; 400 trials at most."""
    return await plot.answer("contour", objective, params, max_trials=max_trials)


@router.get("/parallel_coordinates", **_said("Trials across all parameters", ParallelAnswer))
async def plot_parallel_coordinates(
    plot: Plot, objective: Objective = None, params: Params = None, max_trials: MaxTrials = None
) -> Response:
    """A line per trial, over 20 parameters at most; 2,000 trials at most."""
    return await plot.answer("parallel_coordinates", objective, params, max_trials=max_trials)


@router.get("/pareto_front", **_said("Several objectives", ParetoAnswer))
async def plot_pareto_front(plot: Plot, objective: Objectives = None, max_trials: MaxTrials = None) -> Response:
    """The trials that no other one beats in every objective, among the others; 2,000 trials at most."""
    return await plot.answer("pareto_front", objective, max_trials=max_trials)


@router.get("/edf", **_said("The distribution of values", EdfAnswer))
async def plot_edf(plot: Plot, objective: Objective = None) -> Response:
    """The share of complete trials at or below each value, over all of them."""
    return await plot.answer("edf", objective)


@router.get("/intermediate_values", **_said("Intermediate values", IntermediateAnswer))
async def plot_intermediate_values(plot: Plot, objective: Objective = None, max_trials: MaxTrials = None) -> Response:
    """What trials reported on their way, running ones too; 1,000 trials at most, some 200 steps of each."""
    return await plot.answer("intermediate_values", objective, max_trials=max_trials)


@router.get("/timeline", **_said("When trials ran", TimelineAnswer))
async def plot_timeline(plot: Plot, max_trials: MaxTrials = None) -> Response:
    """Trials in any state, with their beginnings and ends."""
    return await plot.answer("timeline", max_trials=max_trials)


@router.get("/importances", **_said("Which parameters matter", ImportancesAnswer))
async def plot_importances(
    plot: Plot,
    objective: Objective = None,
    params: Params = None,
    max_trials: MaxTrials = None,
    evaluator: Annotated[
        Evaluator, Query(description="`ped_anova`: what matters among the best tenth; `fanova`: over all trials.")
    ] = "ped_anova",
) -> Response:
    """Shares that together make 1, reckoned from evenly spread trials. 400 with fewer than two complete ones."""
    return await plot.answer("importances", objective, params, max_trials=max_trials, evaluator=evaluator)


def _names(given: str | None) -> tuple[str, ...]:
    """Names with commas between them; spaces around them are nobody's."""
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


def _matches(seen: str | None, name: str) -> bool:
    """Whether `If-None-Match` lists the answer; a proxy may have weakened its tag."""
    tags = [tag.strip().removeprefix("W/") for tag in (seen or "").split(",")]
    return "*" in tags or f'"{name}"' in tags
