"""How models, templates and predictions are printed and written."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tunesmith.cli.inputs import Dumper
from tunesmith.cli.output import hint, print_fields, print_table, text
from tunesmith.cli.saving import save
from tunesmith.client.automl import shown
from tunesmith.errors import BadRequest

SHOWN_ROWS = 50
"""Predictions that are printed as a table, at most."""
PREDICTION_FILES = (".csv", ".jsonl")
WORDS = {"array": "list", "boolean": "true, false", "string": "text"}
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def print_model(model: Mapping[str, Any]) -> None:
    """Where a model stands, then its metrics as a table."""
    search = model.get("search") or {}
    print_fields(
        {
            "model": model["model_id"],
            "job": model["job_id"],
            "experiment": model.get("experiment_id"),
            "template": model.get("template"),
            "status": f"{model['status']}, {model['progress']} %",
            "message": model.get("message"),
            "error": model.get("error"),
            "trials": _trials(search) if search else None,
            "best": search.get("best"),
            "by": model.get("submitted_by"),
            "created": _time(model.get("created_at")),
            "ended": _time(model.get("ended_at")),
            "file": model.get("artifact_url"),
        }
    )
    print_table(("metric", "value"), model["metrics"].items(), empty="no metrics yet")


def print_models(found: Iterable[Mapping[str, Any]]) -> None:
    """A line for each model."""
    columns = ("model", "template", "status", "%", "metrics", "created")
    print_table(columns, map(_row, found), empty="no models; `tunesmith automl train` makes one")


def print_leaderboard(board: Mapping[str, Any]) -> None:
    """A line for each trial of a search, best first."""
    columns = ("rank", "trial", "architecture", board["metric"], "seconds", "parameters")
    keys = ("rank", "trial", "architecture", "value", "duration_s", "params")
    rows = ([trial[key] for key in keys] for trial in board["trials"])
    print_table(columns, rows, empty="no trial has finished yet")


def print_yaml(config: Mapping[str, Any]) -> None:
    """A configuration, as a file to train with."""
    sys.stdout.write(yaml.dump(config, Dumper=Dumper, sort_keys=False, allow_unicode=True))


def print_template(described: Mapping[str, Any]) -> None:
    """Every key of a template, with its default, what it may be, and what it is."""
    hint(str(described.get("description") or ""))
    if described.get("install"):
        hint(f"not installed: {described['install']}")
    columns = ("key", "default", "may be", "what it is")
    print_table(columns, _keys(described["config"], described["config_schema"]), empty="no keys")


def print_predictions(found: Mapping[str, Any]) -> None:
    """Predictions, with the probability of each class."""
    header, lines = _lines(found)
    print_table(("row", *header), ((i, *line) for i, line in enumerate(islice(lines, SHOWN_ROWS), 1)), empty="no rows")
    more = len(found["predictions"]) - SHOWN_ROWS
    if more > 0:
        hint(f"{more:,} more; -o FILE.csv writes them all")


def check_writable(output: Path) -> None:
    """Raise BadRequest unless the file's name says what is written to it."""
    if output.suffix.lower() not in PREDICTION_FILES:
        raise BadRequest(f"{output}: it should end with {' or '.join(PREDICTION_FILES)}")


def write_predictions(found: Mapping[str, Any], output: Path) -> None:
    """Write them to a file, CSV or JSON lines by its name. Raises BadRequest where it cannot be written."""
    header, lines = _lines(found)
    if output.suffix.lower() == ".csv":
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
        save(file.getvalue().encode(), output)
    else:
        written = (json.dumps(dict(zip(header, line, strict=True)), ensure_ascii=False) for line in lines)
        save("".join(f"{line}\n" for line in written).encode(), output)


def _lines(found: Mapping[str, Any]) -> tuple[tuple[str, ...], Iterator[Sequence[Any]]]:
    """The header and the lines of predictions as a table."""
    values, probabilities = found["predictions"], found["probabilities"]
    if not probabilities:
        return ("prediction",), ((value,) for value in values)
    classes = list(probabilities[0])
    header = ("prediction", *(f"probability of {name}" for name in classes))
    lines = ((value, *map(each.get, classes)) for value, each in zip(values, probabilities, strict=True))
    return header, lines


def _row(model: Mapping[str, Any]) -> tuple[Any, ...]:
    note = model["error"] if model["status"] == "failed" else shown(model["metrics"])
    first = (note or "").strip().splitlines()[:1]
    standing = (model["model_id"], model["template"], model["status"], model["progress"])
    return (*standing, "".join(first), _time(model["created_at"]))


def _time(written: str | None) -> datetime | None:
    """A time of an answer, which people are shown in their own zone."""
    return None if written is None else datetime.fromisoformat(written)


def _trials(search: Mapping[str, Any]) -> str:
    return f"{search['finished']} of {search['n_trials']} finished, {search['failed']} failed"


def _keys(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Key, default, range and description of every key of every section."""
    for section, values in config.items():
        fields = _resolved(schema, schema["properties"].get(section, {})).get("properties", {})
        for key, default in values.items():
            field = _resolved(schema, fields.get(key, {}))
            yield f"{section}.{key}", json.dumps(default), _may_be(field), text(field.get("description"))


def _resolved(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    """A field with what its reference leads to."""
    reference = field.get("$ref")
    if reference is None:
        return field
    target = schema
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{name: value for name, value in field.items() if name != "$ref"}}


def _may_be(field: Mapping[str, Any]) -> str:
    """Type and range of a field, in a few words."""
    if "anyOf" in field:
        return " or ".join(_may_be(each) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(map(text, field["enum"]))
    if "const" in field:
        return text(field["const"])
    limits = [f"{sign} {_number(field[bound])}" for bound, sign in BOUNDS.items() if bound in field]
    kind = str(field.get("type", "anything"))
    return " ".join([WORDS.get(kind, kind), ", ".join(limits)]).strip()


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
