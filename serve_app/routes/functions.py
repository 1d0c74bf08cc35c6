"""Functions that are shipped to the platform: kept by their content, and checked before a job relies on one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import platform
from importlib import metadata
from typing import Annotated

from fastapi import Request, Response

from serve_app.answers import answer
from serve_app.body import FromJson
from serve_app.context import Here
from serve_app.idempotency import Key, Once, perform
from serve_app.openapi import refusals
from serve_app.strict import surface
from tuners.tools.callable_load import function_key
from tunesmith.domain import CallableTool, Experiment, Search
from tunesmith.errors import BadRequest, InvalidBody, InvalidOptimizer
from tunesmith.schemas.functions import FunctionAnswer, FunctionRequest
from tunesmith.storage import Storage

router = surface("/api/v1", ["functions"])


@router.post(
    "/functions",
    summary="Ship a function",
    status_code=201,
    response_model=FunctionAnswer,
    response_description="Kept.",
    responses={200: {"model": FunctionAnswer, "description": "It is there already."}, **refusals(409, 413)},
)
def ship_function(
    here: Here, request: Request, body: Annotated[FunctionRequest, FromJson()], key: Key = None
) -> Response:
    """Keep a pickled Python function for the jobs of `callable` experiments. `Client.tune` does this.

    It is kept by its content, so that the same function, sent again, is the same. It is never unpickled here, only by
    the workers that run it.
    """
    check_versions(body.python, body.cloudpickle)
    try:
        payload = base64.b64decode(body.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidBody(f"payload: it is no base64 ({error}); send the pickle as Client.tune does") from error
    digest = hashlib.sha256(payload).hexdigest()
    there = is_kept(here.storage, digest)
    if not there:
        here.storage.write(function_key(digest), payload)
    once = Once.of(request, key, body)
    with here.store.write() as tx:
        return perform(tx, once, lambda: answer(FunctionAnswer(digest=digest), 200 if there else 201))


def check_versions(python: str, cloudpickle: str) -> None:
    """Raise BadRequest for a pickle that this platform's workers would not understand."""
    ours = ".".join(platform.python_version_tuple()[:2])
    if python != ours:
        raise BadRequest(
            f"python: the function was pickled by Python {python}, and the platform runs {ours}, which cannot read "
            f"its code; call Client.tune from Python {ours}",
            python=ours,
        )
    installed = metadata.version("cloudpickle")
    if cloudpickle.partition(".")[0] != installed.partition(".")[0]:
        raise BadRequest(
            f"cloudpickle: the function was pickled by version {cloudpickle}, and the platform has {installed}; "
            f"pip install cloudpickle=={installed}",
            cloudpickle=installed,
        )


def check_code(experiment: Experiment, search: Search, storage: Storage) -> None:
    """Raise InvalidOptimizer unless a `callable` experiment's job comes with a function, and no other one does."""
    shipped = isinstance(experiment.spec.tool, CallableTool)
    if not shipped and search.code is not None:
        raise InvalidOptimizer(
            f"optimizer.code ({search.code[:12]}...) belongs to an experiment with a callable; remove it", field="code"
        )
    if shipped and search.code is None:
        raise InvalidOptimizer(
            f"optimizer.code is required: the function {experiment.spec.tool_name!r} is shipped with each job; "
            "submit it from Python with Client.tune()",
            field="code",
        )
    if search.code is not None and not is_kept(storage, search.code):
        raise InvalidOptimizer(
            f"optimizer.code ({search.code[:12]}...): no such function was shipped; POST it to /api/v1/functions "
            "first, or use Client.tune()",
            field="code",
        )


def is_kept(storage: Storage, digest: str) -> bool:
    """Whether a function is there, and whole. Raises StorageUnavailable."""
    found = hashlib.sha256()
    for chunk in storage.read(function_key(digest)):
        found.update(chunk)
    return found.hexdigest() == digest
