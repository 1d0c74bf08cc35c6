"""Commands on runs of models: runs models, submit, list, show, results, cancel, watch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli import exits
from tunesmith.cli.assignments import assignments
from tunesmith.cli.options import Json, Limit, Url, connect
from tunesmith.cli.output import hint, print_error, print_fields, print_json, print_table
from tunesmith.cli.saving import save
from tunesmith.client.model_runs import RunHandle, failure
from tunesmith.client.percent import percent_bar
from tunesmith.errors import BadRequest, TunesmithError
from tunesmith.schemas.model_runs import RunAnswer

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
SHOWN_ROWS = 50
"""Rows that are printed as a table, at most."""


class StatusOption(StrEnum):
    """Which runs to list."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class FormatOption(StrEnum):
    """What a file of results is."""

    CSV = "csv"
    PARQUET = "parquet"


def list_models(url: Url = None, as_json: Json = False) -> None:
    """List the models that can be run, with their parameters."""
    with connect(url) as client:
        found = client.models()
    if as_json:
        print_json(found)
        return
    rows = ((model.id, model.name, _choices(model.params)) for model in found)
    print_table(("model", "name", "parameters"), rows, empty="no models")


def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's id; `runs models` lists them.")],
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="NAME=VALUE",
            help="An input; JSON, or else text. Once per input.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Inputs from a JSON or YAML file; -: stdin.", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it ends; fails when it fails.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Run a model in the background: tunesmith runs submit linear_reg -i region=NA -i year=2024 --wait."""
    inputs = assignments("--input", given, file)
    with connect(url) as client:
        run = client.runs.submit(model, inputs)
        info = _watched(run, as_json) if wait else run.refresh()
    _print(info, as_json)
    if wait:
        _end(info)
    elif not as_json:
        hint(f"`tunesmith runs watch {run.id}` follows it")


def list_runs(
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Only those of this model.", show_default=False)
    ] = None,
    status: Annotated[StatusOption | None, typer.Option("--status", help="Only those in this status.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only those that you submitted.")] = False,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    with connect(url) as client:
        found = list(client.runs.list(model, status and status.value, mine, limit))
    if as_json:
        print_json(found)
        return
    columns = ("run", "model", "status", "%", "inputs", "message", "by", "submitted")
    print_table(columns, map(_row, found), empty="no runs; `tunesmith runs submit` makes one")


def show(run_id: RunId, url: Url = None, as_json: Json = False) -> None:
    """Show a run: what was asked for, and where it stands."""
    with connect(url) as client:
        info = client.runs.get(run_id).info
    _print(info, as_json)


def results(
    run_id: RunId,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write all rows to FILE.csv or FILE.parquet.", show_default=False
        ),
    ] = None,
    file_format: Annotated[
        FormatOption | None,
        typer.Option("--format", help="What is written, to the file or to stdout.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show what came of a run: its summary and its rows; or write all rows as CSV or Parquet."""
    chosen = _format(output, file_format)
    with connect(url) as client:
        run = client.runs.get(run_id)
        if chosen is not None:
            _write(run, chosen, output, as_json)
            return
        summary, rows = run.summary(), run.rows()
    if as_json:
        print_json({"run_id": run.id, "summary": summary, "rows": rows})
        return
    print_fields({name: _text(value) for name, value in summary.items()})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    shown = ([row.get(name) for name in columns] for row in rows[:SHOWN_ROWS])
    print_table(columns, shown, empty="it gave no rows")
    if len(rows) > SHOWN_ROWS:
        hint(f"{len(rows) - SHOWN_ROWS} more; `tunesmith runs results {run.id} -o FILE.csv` writes them all")


def cancel(run_id: RunId, url: Url = None, as_json: Json = False) -> None:
    """Stop a run; its status becomes failed."""
    with connect(url) as client:
        run = client.runs.get(run_id)
        run.cancel()
        info = run.refresh()
    _print(info, as_json)


def watch(run_id: RunId, url: Url = None, as_json: Json = False) -> None:
    """Watch a run until it ends; fails when it fails."""
    with connect(url) as client:
        info = _watched(client.runs.get(run_id), as_json)
    _print(info, as_json)
    _end(info)


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("models", list_models),
    ("submit", submit),
    ("list", list_runs),
    ("show", show),
    ("results", results),
    ("cancel", cancel),
    ("watch", watch),
)


def _format(output: Path | None, chosen: FormatOption | None) -> str | None:
    if chosen is not None or output is None:
        return chosen and chosen.value
    ending = output.suffix.lower().removeprefix(".")
    if ending not in set(FormatOption):
        raise BadRequest(f"{output}: it should end with .csv or .parquet; or say which with --format")
    return ending


def _write(run: RunHandle, chosen: str, output: Path | None, as_json: bool) -> None:
    data = run.download(chosen)
    save(data, output)
    if output is None:
        return
    if as_json:
        print_json({"run_id": run.id, "file": str(output), "bytes": len(data)})
    else:
        hint(f"{output}: {len(data):,} bytes")


def _watched(run: RunHandle, quiet: bool) -> RunAnswer:
    """Wait for its end; Ctrl-C ends the watching only."""
    try:
        with percent_bar(quiet) as tell:
            return run.wait(on_progress=lambda one: tell(one.status, one.progress, one.message)).info
    except KeyboardInterrupt:
        hint(f"it goes on; `tunesmith runs watch {run.id}` comes back to it, `tunesmith runs cancel {run.id}` stops it")
        raise typer.Exit(exits.INTERRUPTED) from None


def _end(info: RunAnswer) -> None:
    if info.status == "failed":
        print_error(TunesmithError(failure(info)))
        raise typer.Exit(exits.FAILED)


def _print(info: RunAnswer, as_json: bool) -> None:
    if as_json:
        print_json(info)
        return
    print_fields(
        {
            "run": info.run_id,
            "model": info.model_id,
            "inputs": dict(info.inputs),
            "status": f"{info.status}, {info.progress} %",
            "message": info.message,
            "by": info.submitted_by,
            "experiment": info.experiment_id,
            "submitted": info.created_at,
            "started": info.started_at,
            "updated": info.updated_at,
        }
    )


def _row(info: RunAnswer) -> tuple[Any, ...]:
    first = (info.message or "").strip().splitlines()[:1]
    return (
        info.run_id, info.model_id, info.status, info.progress, dict(info.inputs), "".join(first), info.submitted_by,
        info.created_at,
    )  # fmt: skip


def _choices(params: Mapping[str, tuple[Any, ...]]) -> str:
    return "; ".join(f"{name}: {', '.join(map(str, choices))}" for name, choices in params.items())


def _text(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict) else json.dumps(value)
