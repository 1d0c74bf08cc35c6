"""Commands that move trials: import, export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.options import ExperimentId, Json, Url, connect
from tunesmith.cli.output import console, hint, print_json, progress_bar, warn
from tunesmith.client import Client
from tunesmith.errors import BadRequest
from tunesmith.schemas.fitting import frame_of

TABLES = (".csv", ".parquet")


def export(
    experiment_id: ExperimentId,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            "--to",
            metavar="TARGET",
            help="FILE.csv or FILE.parquet; or an Optuna storage: FILE.log, journal:FILE, FILE.db, sqlite:///FILE, "
            "postgresql://..., mysql://...",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What the study is called in an Optuna storage.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write all trials of an experiment to a file or an Optuna storage.

    A table (runs.csv, runs.parquet) has a row per trial; runs.measurements.csv beside it has the intermediate values,
    and runs.experiment.json what the experiment is. In an Optuna storage it is a study that plain Optuna opens.
    `tunesmith import` reads all of them back, equal. A file appears whole or not at all.
    """
    from tunesmith.interchange.content import Content, form_of
    from tunesmith.interchange.storages import is_storage, write_storage
    from tunesmith.interchange.tables import check_ending
    from tunesmith.interchange.trial_tables import write_trials

    stored = is_storage(output)
    if not stored:
        check_ending(Path(output))
    with connect(url) as client:
        experiment = client.experiment(experiment_id)
        count = sum(experiment.info.trial_counts.values())
        with progress_bar("reading", count, as_json) as progress:
            records = list(experiment.records(progress))
        content = Content(form_of(experiment.info, experiment.study()), records)
    with progress_bar("writing", len(records), as_json) as progress, _quiet():
        if stored:
            study = content.form.study
            write_storage(output, content, name or (study.name if study else content.form.name), progress)
        else:
            write_trials(Path(output), content)
    if as_json:
        print_json({"file": output, "rows": len(records)})
    else:
        hint(f"{len(records)} trials in {output}")


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="FILE.csv or FILE.parquet; an Optuna storage: FILE.log, journal:FILE, FILE.db, sqlite:///FILE, "
            "postgresql://..., mysql://...; or a result folder of Ray Tune's.",
        ),
    ],
    study: Annotated[
        str | None, typer.Option("--study", help="Only this study of an Optuna storage; without it all of them.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME[:TYPE[:MIN:MAX[:log]]]",
            help="A column that is a parameter, and what its values do not show: lr:float:1e-5:1e-1:log, units:int, "
            "layers:categorical. Once per parameter.",
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="NAME[:DIRECTION]",
            help="A column or metric that was optimized: loss, accuracy:maximize. Once per objective.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the new experiment is called.")] = None,
    into: Annotated[
        int | None, typer.Option("--into", metavar="EXPERIMENT", help="Add the trials to this experiment instead.")
    ] = None,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Leave out the first so many trials.")] = 0,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make an experiment of trials that were made elsewhere, or add them to one.

    What `tunesmith export` wrote comes back equal. Tables of somebody else's may be named as Optuna's data frames are
    (params_x, value, state, datetime_start); of others, --param and --objective name the columns. Types and ranges of
    parameters are told from the values, and printed. Everything is checked before anything is made.
    """
    with connect(url) as client:
        done = [
            _import_one(client, content, into, skip, as_json)
            for content in _contents(source, study, param or [], objective or [], name)
        ]
    if as_json:
        print_json(done)


def _contents(source: str, study: str | None, param: list[str], objective: list[str], name: str | None) -> list[Any]:
    from tunesmith.interchange.content import named
    from tunesmith.interchange.layout import Said, hint_of, objective_of
    from tunesmith.interchange.raytune import is_folder, read_folder
    from tunesmith.interchange.storages import is_storage, read_storage
    from tunesmith.interchange.trial_tables import read_trials

    hints = [hint_of(text) for text in param]
    said = Said({hint.column: hint for hint in hints}, [objective_of(text) for text in objective])
    if is_folder(source):
        found = [read_folder(Path(source), said, name)]
    elif is_storage(source):
        with _quiet():
            found = list(read_storage(source, study))
    else:
        if study is not None:
            raise BadRequest(f"--study {study}: {source} is no Optuna storage")
        found = [read_trials(Path(source), said, name)]
    if name is not None and len(found) > 1:
        raise BadRequest(f"--name {name}: {source} has {len(found)} studies; choose one with --study")
    return found if name is None else [named(found[0], name)]


def _import_one(client: Client, content: Any, into: int | None, skip: int, as_json: bool) -> dict[str, Any]:
    if not as_json:
        for note in content.notes:
            hint(f"  {note}")
    records = content.records[skip:]
    with progress_bar("importing", len(records), as_json) as progress:
        if into is None:
            outside = frame_of(content.form).check(records)
            experiment = client.import_trials(content.form, records, progress)
        else:
            experiment = client.experiment(into)
            outside = experiment.add_records(records, progress=progress).outside
    unfinished = sum(not record.state.finished for record in records)
    if unfinished and not as_json:
        warn(f"{unfinished} of them are not finished; they stand as they stood, and nobody evaluates them")
    if outside and not as_json:
        warn(f"{outside} of them lie outside the space; samplers do not learn from them")
    found = {"experiment": experiment.id, "name": experiment.info.name, "trials": len(records)}
    if not as_json:
        console().print(f"experiment {experiment.id} ({experiment.info.name}): {len(records)} trials", markup=False)
    return {**found, "notes": list(content.notes)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own lines about studies that it makes."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)
