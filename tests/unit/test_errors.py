"""The error tree: one code a class, the same class again from its body or its pickle, drawn as it is."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from ray import cloudpickle

from tunesmith import errors
from tunesmith.errors import BadRequest, Internal, NotFound, TunesmithError, Unavailable, from_body, tree

KINDS = sorted(tree(), key=lambda kind: kind.__name__)
DETAILS = {"field": "x", "list": [1, {"a": None}], "message": "a field of that name", "self": 1, "status": 2}


def name_of(kind: type[TunesmithError]) -> str:
    return kind.__name__


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_the_client_raises_the_class_that_the_server_raised(kind: type[TunesmithError]) -> None:
    raised = with_details(kind("what happened"))
    again = from_body(kind.status, raised.body())
    assert (type(again), again.message, again.details) == (kind, "what happened", DETAILS)
    assert str(again) == "what happened"


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_an_error_survives_the_way_between_processes(kind: type[TunesmithError], pickler: Any) -> None:
    again = pickle.loads(pickler.dumps(with_details(kind("what happened"))))
    assert (type(again), again.message, again.details) == (kind, "what happened", DETAILS)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_the_docstring_is_the_default_message(kind: type[TunesmithError]) -> None:
    assert kind().message == (kind.__doc__ or "").strip() != ""


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_the_body_has_the_one_shape(kind: type[TunesmithError]) -> None:
    body = kind("m", field="x").body()
    assert (
        body | {"error": "m", "detail": "m", "error_type": kind.__name__, "code": kind.code, "details": {"field": "x"}}
        == body
    )
    assert set(body) - {"error", "detail", "error_type", "code", "details"} <= {"status", "job", "message"}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert drawn_tree() == {
        kind.__name__: (kind.__mro__[1].__name__, kind.code) for kind in KINDS if kind is not TunesmithError
    }


def test_the_statuses_in_the_docstring_are_the_statuses() -> None:
    drawn = {name: int(status) for name, status in re.findall(r"─ (\w+) \((\d+)\)", errors.__doc__ or "")}
    assert drawn.items() <= {kind.__name__: kind.status for kind in KINDS}.items()
    assert set(drawn.values()) == {400, 401, 403, 404, 405, 408, 409, 413, 424, 429, 431, 500, 503}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (400, BadRequest), (418, BadRequest), (503, Unavailable), (500, Internal), (502, Internal)],
)
def test_an_answer_of_somebody_else_becomes_the_nearest_error(status: int, kind: type[TunesmithError]) -> None:
    for body in ({}, {"detail": "Not Found"}, {"code": "NEW_CODE", "error": "m", "details": "none"}, {"code": 3}):
        error = from_body(status, body)
        assert type(error) is kind
        assert error.message == str(body.get("error") or body.get("detail") or f"the server answered {status}")


def with_details(error: TunesmithError) -> TunesmithError:
    error.details = dict(DETAILS)
    return error


def drawn_tree() -> dict[str, tuple[str, str]]:
    """Class -> (parent, code), from the picture in the module's docstring."""
    drawn: dict[str, tuple[str, str]] = {}
    parents = ["TunesmithError"]
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"(.*)[├└]── (\w+)(?: \(\d+\))? +([A-Z_]+)", line):
            depth = (len(found[1]) - 4) // 4 + 1
            del parents[depth:]
            drawn[found[2]] = (parents[-1], found[3])
            parents.append(found[2])
    return drawn
