"""Reading the analyses of an experiment: as arrays, and as figures where Plotly is at hand."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from tunesmith.client.answers import parsed
from tunesmith.client.connection import Connection
from tunesmith.errors import BadRequest
from tunesmith.schemas.analysis import ANSWERS, AnalysesAnswer, Analysis, AnalysisKind


def read_kinds(connection: Connection, path: str) -> list[AnalysisKind]:
    """Every analysis of the experiment at this path. Raises TunesmithError."""
    return list(parsed(connection, AnalysesAnswer, connection.get(f"{path}/analysis")).analyses)


def read_analysis(connection: Connection, path: str, kind: str, options: Mapping[str, Any]) -> Analysis:
    """An analysis as arrays. Raises BadRequest where there is none of this kind, or it does not fit."""
    _check(kind)
    return parsed(connection, ANSWERS[kind], connection.get(f"{path}/analysis/{kind}", **_query(options)))


def read_figure(connection: Connection, path: str, kind: str, options: Mapping[str, Any]) -> Any:
    """An analysis as a `plotly.graph_objects.Figure`. Raises BadRequest."""
    from plotly.io import from_json

    _check(kind)
    body = connection.get(f"{path}/analysis/{kind}", format="plotly", **_query(options))
    try:
        return from_json(json.dumps(body))
    except (TypeError, ValueError) as error:
        raise connection.not_ours(f"no figure at {path}/analysis/{kind}") from error


def _check(kind: str) -> None:
    if kind not in ANSWERS:
        near = difflib.get_close_matches(kind, ANSWERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(ANSWERS)}"
        raise BadRequest(f"there is no analysis {kind!r}; {hint}", kind=kind)


def _query(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: ",".join(value) if isinstance(value, list | tuple) else value for name, value in options.items()}
