"""The command that draws an experiment's trials: plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.options import ExperimentId, Json, Url, connect
from tunesmith.cli.output import hint, print_json
from tunesmith.errors import BadRequest
from tunesmith.schemas.analysis import ANSWERS

ENDINGS = (".html", ".json")


def plot(
    experiment_id: ExperimentId,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(ANSWERS)}.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="FILE.html: a page that needs nothing else; FILE.json: the figure as Plotly's JSON. Without it "
            "experiment-ID-KIND.html.",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[str | None, typer.Option("--objective", help="The metric.", show_default=False)] = None,
    params: Annotated[str | None, typer.Option("--params", help="Parameters, with commas.", show_default=False)] = None,
    max_trials: Annotated[
        int | None, typer.Option("--max-trials", min=1, help="Trials that are shown, at most.", show_default=False)
    ] = None,
    evaluator: Annotated[
        str | None, typer.Option("--evaluator", help="Of importances: ped_anova or fanova.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Draw an experiment's trials into a file; with --json and no file, print what would be drawn as arrays."""
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise BadRequest(f"--output {output}: the name must end in {' or '.join(ENDINGS)}")
    given = {"objective": objective, "params": params, "max_trials": max_trials, "evaluator": evaluator}
    options = {name: value for name, value in given.items() if value is not None}
    with connect(url) as client:
        experiment = client.experiment(experiment_id)
        if as_json and output is None:
            print_json(experiment.analysis(kind, **options).model_dump(mode="json"))
            return
        drawn = experiment.figure(kind, **options)
    written = output or Path(f"experiment-{experiment_id}-{kind}.html")
    _write(drawn, written)
    if as_json:
        print_json({"file": str(written)})
    else:
        hint(f"{kind} of experiment {experiment_id} in {written}")


def _write(drawn: Any, path: Path) -> None:
    text = drawn.to_json() if path.suffix.lower() == ".json" else drawn.to_html(include_plotlyjs=True)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadRequest(f"--output {path}: {error.strerror}") from error
