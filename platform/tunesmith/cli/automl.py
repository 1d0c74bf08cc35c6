"""Commands on models trained from templates: automl login, configs, train, models, show, predict, save, ..."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli import automl_inputs, exits
from tunesmith.cli.automl_output import (
    check_writable,
    print_leaderboard,
    print_model,
    print_models,
    print_predictions,
    print_template,
    print_yaml,
    write_predictions,
)
from tunesmith.cli.me import login
from tunesmith.cli.options import Json, Limit, Url, workspace
from tunesmith.cli.output import hint, print_error, print_json, print_table
from tunesmith.client.automl import AutoMLClient
from tunesmith.client.discovery import platform_url
from tunesmith.errors import BadRequest, TunesmithError

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="The model's id, or its job's.")]
Given = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        help="A configuration, or what POST /v1/train takes, in a YAML or JSON file (-: stdin); or a template's name.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key: training.epochs=5. Once per key."),
]
TrainPath = Annotated[str | None, typer.Option("--train-path", metavar="PATH", help="The data, data.train_path.")]
Target = Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="What to predict, data.target.")]
SearchTrials = Annotated[
    int | None, typer.Option("--search", metavar="N", min=1, help="Search all families with N trials for the best.")
]
RowsFile = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Rows: CSV, Parquet or JSON lines; -: stdin, CSV or JSON.", show_default=False),
]
WrittenRows = Annotated[
    list[str] | None, typer.Option("--row", metavar="JSON", help="A row: '{\"age\": 41}'. Once per row.")
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write them to FILE.csv or FILE.jsonl, a line for each row."),
]


class StatusOption(StrEnum):
    """Which models to list."""

    INITIALIZING = "initializing"
    TRAINING = "training"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


def list_configs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one.", show_default=False)] = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print its configuration as YAML, to change it and to train with it.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the templates, or show every key of one: tunesmith automl configs linear --yaml > config.yaml."""
    if as_yaml and name is None:
        raise BadRequest("--yaml prints the configuration of one template: name it")
    with connect(url) as client:
        if name is not None:
            found = client.describe(name)
        else:
            names = client.configs()
            if as_json:
                print_json({"configs": names})
                return
            rows = ((one, client.describe(one).get("description")) for one in names)
            print_table(("template", "what it trains"), rows, empty="no templates")
            return
    if as_json:
        print_json(found)
    elif as_yaml:
        print_yaml(found["config"])
    else:
        print_template(found)


def train(
    config: Given = None,
    settings: Settings = None,
    train_path: TrainPath = None,
    target: Target = None,
    search: SearchTrials = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Watch it until it ends.")] = True,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Train a model: tunesmith automl train linear --train-path houses.csv --target price."""
    changes = automl_inputs.changes(settings, train_path, target, search)
    with connect(url) as client:
        answer = client.train(**automl_inputs.training(config, changes))
        if follow:
            answer = _followed(client, answer["model_id"], as_json)
        if as_json:
            print_json(answer)
        elif follow:
            print_model(answer)
        else:
            hint(f"model {answer['model_id']} is {answer['status']}; `tunesmith automl show {answer['model_id']}`")
    if follow:
        _end(answer)


def list_models(
    status: Annotated[StatusOption | None, typer.Option("--status", help="Only those in this status.")] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME", help="Only those of this template.", show_default=False)
    ] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List models, newest first."""
    with connect(url) as client:
        found = list(client.models(status and status.value, template, limit))
    if as_json:
        print_json(found)
    else:
        print_models(found)


def show(model_id: ModelId, url: Url = None, as_json: Json = False) -> None:
    """Show a model: where it stands, and its metrics."""
    with connect(url) as client:
        found = client.model(model_id)
    _print(found, as_json)


def leaderboard(model_id: ModelId, limit: Limit = 20, url: Url = None, as_json: Json = False) -> None:
    """Show the trials of a search, best first."""
    with connect(url) as client:
        found = client.leaderboard(model_id, limit)
    if as_json:
        print_json(found)
    else:
        print_leaderboard(found)


def predict(
    model_id: ModelId,
    file: RowsFile = None,
    row: WrittenRows = None,
    output: Output = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Predict rows with a trained model."""
    if output is not None:
        check_writable(output)
    with connect(url) as client:
        found = client.predictions(model_id, automl_inputs.rows(file, row, lambda: _numbers(client, model_id)))
    if output is not None:
        write_predictions(found, output)
        if not as_json:
            hint(f"{output}: {len(found['predictions']):,} predictions")
            return
    if as_json:
        print_json({"model_id": model_id, "file": str(output), "rows": len(found["predictions"])} if output else found)
    else:
        print_predictions(found)


def save(
    model_id: ModelId,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="File or directory; unset: a file right here.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Save a trained model's file, checked by its SHA-256."""
    with connect(url) as client:
        try:
            saved = client.save(model_id, path)
        except OSError as error:
            raise BadRequest(f"{path or 'the model'} cannot be written: {error.strerror}") from error
    size = saved.stat().st_size
    if as_json:
        print_json({"model_id": model_id, "file": str(saved), "bytes": size})
    else:
        hint(f"{saved}: {size:,} bytes")


def stop(model_id: ModelId, url: Url = None, as_json: Json = False) -> None:
    """Stop a training."""
    with connect(url) as client:
        found = client.stop(model_id)
    _print(found, as_json)


def delete(model_id: ModelId, url: Url = None, as_json: Json = False) -> None:
    """Delete a model with its files."""
    with connect(url) as client:
        client.delete(model_id)
    if as_json:
        print_json({"model_id": model_id, "deleted": True})


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("login", login),
    ("configs", list_configs),
    ("train", train),
    ("models", list_models),
    ("show", show),
    ("leaderboard", leaderboard),
    ("predict", predict),
    ("save", save),
    ("stop", stop),
    ("delete", delete),
)


def connect(url: str | None) -> AutoMLClient:
    """A client for `--url`, and for `--workspace`."""
    return AutoMLClient(base_url=url or platform_url(), workspace=workspace.get())


def _followed(client: AutoMLClient, model_id: str, quiet: bool) -> dict[str, Any]:
    """Wait for its end; Ctrl-C ends the watching only."""
    try:
        return client.wait(model_id, progress=not quiet)
    except KeyboardInterrupt:
        hint(f"it goes on; `tunesmith automl show {model_id}` shows it, `tunesmith automl stop {model_id}` stops it")
        raise typer.Exit(exits.INTERRUPTED) from None


def _numbers(client: AutoMLClient, model_id: str) -> set[str]:
    """The features of a model that are numbers."""
    return {feature["name"] for feature in client.facts(model_id)["features"] if feature["kind"] == "number"}


def _end(model: dict[str, Any]) -> None:
    if model["status"] == "stopped":
        print_error(TunesmithError(f"the training of model {model['model_id']} was stopped"))
        raise typer.Exit(exits.FAILED)


def _print(model: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(model)
    else:
        print_model(model)
