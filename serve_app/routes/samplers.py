"""The samplers and the pruners that a job can be given."""

from __future__ import annotations

from functools import cache

from fastapi import Response

from serve_app.answers import answer
from serve_app.strict import surface
from tuners import pruners, samplers
from tunesmith.schemas.samplers import PrunersAnswer, SamplersAnswer

router = surface("/api/v1", ["samplers"])


@router.get("/samplers", summary="List samplers", response_model=SamplersAnswer)
async def list_samplers() -> Response:
    """What `optimizer.type` of a job may be, with the options that each takes."""
    return answer(_samplers())


@router.get("/pruners", summary="List pruners", response_model=PrunersAnswer)
async def list_pruners() -> Response:
    """What `optimizer.pruner` of a job may be, with the options that each takes."""
    return answer(_pruners())


@cache
def _samplers() -> SamplersAnswer:
    return SamplersAnswer.model_validate({"samplers": samplers.catalogue()})


@cache
def _pruners() -> PrunersAnswer:
    return PrunersAnswer.model_validate({"pruners": pruners.catalogue()})
