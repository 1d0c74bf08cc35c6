"""Commands on scenarios: scenarios list, create, run, show, watch, log, cancel, reset, delete, compare, optimize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from tunesmith.cli import exits
from tunesmith.cli.assignments import assignments
from tunesmith.cli.inputs import read_document, read_optimizer
from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import hint, print_error, print_fields, print_json, print_json_line, print_table
from tunesmith.cli.sessions import SessionOption
from tunesmith.client.percent import percent_bar
from tunesmith.client.scenarios import ScenarioHandle
from tunesmith.domain.session import ComparedKpi
from tunesmith.errors import BadRequest, TunesmithError
from tunesmith.schemas.scenarios import KpiAnswer

Tag = Annotated[str, typer.Argument(metavar="SCENARIO", help="The scenario's tag or id.")]
Wait = Annotated[bool, typer.Option("--wait", help="Watch it until it ends; fails when it fails.")]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "-p", "--param", metavar="NAME=VALUE", help="A parameter; JSON, or else text. Once each.", show_default=False
    ),
]
ParamsFile = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="Parameters from a JSON or YAML file; -: stdin.", show_default=False),
]
DataParams = Annotated[
    list[str] | None,
    typer.Option("-d", "--data-param", metavar="NAME=VALUE", help="A knob of the dataset.", show_default=False),
]
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's name.")]
Algorithm = Annotated[str, typer.Argument(metavar="ALGORITHM", help="`sessions algorithms` lists them.")]


def list_scenarios(session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """List the scenarios of a session, with their KPIs."""
    with connect(url) as client:
        found = client.sessions(session).scenarios.list()
    if as_json:
        print_json([one.info for one in found])
        return
    kpis = list(dict.fromkeys(name for one in found for name in one.kpis))
    rows = ((*_standing(one), *(_shown(one.kpis.get(name)) for name in kpis)) for one in found)
    columns = ("scenario", "algorithm", "dataset", "status", "%", *kpis)
    print_table(columns, rows, empty="no scenarios; `tunesmith scenarios create` makes one")


def create(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Its name, which no other scenario of the session has.")],
    dataset: Dataset,
    algorithm: Algorithm,
    params: Params = None,
    file: ParamsFile = None,
    data_params: DataParams = None,
    run: Annotated[bool, typer.Option("--run", help="Run it at once.")] = False,
    wait: Wait = False,
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a scenario: tunesmith scenarios create first sales Greedy -p limit=5 --wait."""
    given = assignments("--param", params, file)
    knobs = assignments("--data-param", data_params)
    with connect(url) as client:
        made = client.sessions(session).scenarios.create(tag, dataset, algorithm, given, knobs)
        _begun(made.run() if run or wait else made, wait, as_json)


def from_trial(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The new scenario's name.")],
    experiment: Annotated[int, typer.Argument(metavar="EXPERIMENT", help="The optimization's experiment.")],
    number: Annotated[
        int | None, typer.Option("--trial", metavar="NUMBER", help="The trial; unset: the best.", show_default=False)
    ] = None,
    wait: Wait = False,
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a scenario of the best trial of an optimization, or of another one."""
    with connect(url) as client:
        made = client.sessions(session).scenarios.from_trial(experiment, tag, number)
        _begun(made.run() if wait else made, wait, as_json)


def run(tag: Tag, wait: Wait = False, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Run a scenario."""
    with connect(url) as client:
        _begun(client.sessions(session).scenarios.get(tag).run(), wait, as_json)


def show(tag: Tag, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Show a scenario: its parameters, where it stands, its KPIs."""
    with connect(url) as client:
        found = client.sessions(session).scenarios.get(tag)
        if as_json:
            print_json(found.refresh())
        else:
            _print(found)


def watch(tag: Tag, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Watch a scenario until its run ends; fails when it fails."""
    with connect(url) as client:
        _begun(client.sessions(session).scenarios.get(tag), True, as_json)


def log(
    tag: Tag,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until its run has ended.")] = False,
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print what a scenario's run printed, and the traceback if it failed; with --json one object a line."""
    with connect(url) as client:
        for line in client.sessions(session).scenarios.get(tag).log(follow):
            if as_json:
                print_json_line({"line": line})
            else:
                typer.echo(line)


def cancel(tag: Tag, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Stop a scenario's run; its status becomes failed."""
    with connect(url) as client:
        _begun(client.sessions(session).scenarios.get(tag).cancel(), False, as_json)


def reset(tag: Tag, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Forget a scenario's run, so that it can be run again."""
    with connect(url) as client:
        _begun(client.sessions(session).scenarios.get(tag).reset(), False, as_json)


def delete(tag: Tag, session: SessionOption = None, url: Url = None, as_json: Json = False) -> None:
    """Delete a scenario; not while it runs."""
    with connect(url) as client:
        client.sessions(session).scenarios.get(tag).delete()
    if as_json:
        print_json({"scenario": tag, "deleted": True})
    else:
        hint(f"{tag} is deleted")


def compare(
    tags: Annotated[list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Unset: all.")] = None,
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Compare scenarios: a row for each KPI, the best one marked."""
    with connect(url) as client:
        scenarios = client.sessions(session).scenarios
        chosen = scenarios.list() if not tags else [scenarios.get(tag) for tag in tags]
        if not chosen:
            raise BadRequest("there are no scenarios to compare")
        found = scenarios.compare(chosen)
    if as_json:
        print_json(found)
        return
    columns = ("KPI", "better", *(one.tag for one in found.scenarios))
    rows = ((_named(row), _wish(row), *(_marked(row, one.id) for one in found.scenarios)) for row in found.rows)
    print_table(columns, rows, empty="no KPIs")


def optimize(
    dataset: Dataset,
    algorithm: Algorithm,
    kpis: Annotated[list[str], typer.Argument(metavar="KPI...", help="What is to become best.")],
    space: Annotated[str, typer.Option("--space", metavar="FILE", help="The parameters: a list in JSON or YAML.")],
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="A file, or inline: 'tpe:n_iter=50'.", show_default=False)
    ] = None,
    params: Params = None,
    session: SessionOption = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Search the parameters of an algorithm that have the best KPIs, as a job of an experiment."""
    parameters = read_document(space)
    if not isinstance(parameters, list):
        raise BadRequest(f"{space}: it should hold a list of parameters, each with name, type, minimum, maximum, ...")
    chosen = None if optimizer is None else read_optimizer(optimizer)
    fixed = assignments("--param", params)
    with connect(url) as client:
        job = client.sessions(session).optimize(algorithm, dataset, parameters, kpis, chosen, algo_params=fixed)
    if as_json:
        print_json(job.info)
        return
    print_fields({"job": job.id, "experiment": job.info.job_meta.experiment_id})
    hint(
        f"`tunesmith watch {job.id}` follows it; "
        f"`tunesmith scenarios from-trial TAG {job.info.job_meta.experiment_id}` makes a scenario of the best"
    )


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("list", list_scenarios),
    ("create", create),
    ("from-trial", from_trial),
    ("run", run),
    ("show", show),
    ("watch", watch),
    ("log", log),
    ("cancel", cancel),
    ("reset", reset),
    ("delete", delete),
    ("compare", compare),
    ("optimize", optimize),
)


def _begun(scenario: ScenarioHandle, wait: bool, as_json: bool) -> None:
    """Show a scenario, once it has ended if that is to be waited for; Ctrl-C ends the waiting only."""
    if wait:
        try:
            with percent_bar(as_json) as tell:
                scenario.wait(on_progress=lambda now: tell(now.status, now.progress, None))
        except KeyboardInterrupt:
            hint(f"it goes on; `tunesmith scenarios watch {scenario.tag}` comes back to it")
            raise typer.Exit(exits.INTERRUPTED) from None
    if as_json:
        print_json(scenario.info)
    else:
        _print(scenario)
    if wait and scenario.info.status == "failed":
        print_error(TunesmithError(f"the scenario {scenario.tag!r} failed: {scenario.info.result['error']}"))
        raise typer.Exit(exits.FAILED)


def _print(scenario: ScenarioHandle) -> None:
    info = scenario.info
    failed = info.result["error"] if info.status == "failed" and info.result else None
    print_fields(
        {
            "scenario": info.tag,
            "id": info.id,
            "algorithm": info.algorithm.name,
            "parameters": dict(info.algorithm.parameters),
            "dataset": info.dataset_key,
            "data parameters": dict(info.data_parameters) or None,
            "status": f"{info.status}, {info.progress} %",
            "error": failed,
            "made": info.created_at,
            "started": info.run_started_at,
            "ended": info.run_finished_at,
            **{name: _shown(kpi) or None for name, kpi in info.kpis.items()},
        }
    )


def _standing(scenario: ScenarioHandle) -> tuple[Any, ...]:
    info = scenario.info
    return info.tag, info.algorithm.name, info.dataset_key, info.status, info.progress


def _shown(kpi: KpiAnswer | None) -> str:
    if kpi is None:
        return ""
    unit = f" {kpi.unit}" if kpi.unit else ""
    met = {True: " (met)", False: " (missed)", None: ""}[kpi.success]
    return f"{kpi.value:.6g}{unit}{met}"


def _named(row: ComparedKpi) -> str:
    return f"{row.kpi} [{row.unit}]" if row.unit else row.kpi


def _wish(row: ComparedKpi) -> str:
    threshold = "" if row.threshold is None else f" {row.threshold:g}"
    return f"{row.better_when.lower().replace('_', ' ')}{threshold}"


def _marked(row: ComparedKpi, scenario_id: str) -> str:
    value = row.values.get(scenario_id)
    return "" if value is None else f"{value:.6g}{' *' if scenario_id in row.best else ''}"
