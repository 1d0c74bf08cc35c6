"""The command tree, and where errors become exit codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import tunesmith
from tunesmith.cli import (
    admin,
    audit,
    automl,
    catalogues,
    data,
    doctor,
    exits,
    experiments,
    housekeep,
    interchange,
    jobs,
    me,
    notify,
    options,
    optuna_server,
    people,
    plot,
    runs,
    scenarios,
    secrets,
    server,
    sessions,
    training_exchange,
    trainings,
    users,
    work,
)
from tunesmith.cli.output import print_error
from tunesmith.errors import TunesmithError


class Commands(TyperGroup):
    """Runs a command; what it raises ends as one line on stderr and an exit code, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(ctx)
        except TunesmithError as error:
            print_error(error)
            raise typer.Exit(exits.exit_code(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(exits.INTERRUPTED) from None
        except Exception as error:
            # The parser's own errors carry an exit code and print themselves; a closed pipe is nobody's error.
            if (
                ctx.params.get("traceback")
                or hasattr(error, "exit_code")
                or isinstance(error, typer.Abort | BrokenPipeError)
            ):
                raise
            print_error(
                TunesmithError(f"unexpected {type(error).__name__}: {error} (`tunesmith --traceback ...` shows where)")
            )
            raise typer.Exit(exits.FAILED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=exits.EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
all_jobs = typer.Typer(invoke_without_command=True, epilog=exits.EPILOG)

PLATFORM, WORK, RESULTS = "The platform", "Jobs", "Experiments and results"
COMMANDS = (
    ("up", server.up, PLATFORM),
    ("down", server.down, PLATFORM),
    ("status", server.status, PLATFORM),
    ("optuna-server", optuna_server.optuna_server, PLATFORM),
    ("doctor", doctor.doctor, PLATFORM),
    ("settings", admin.settings, PLATFORM),
    ("housekeep", housekeep.housekeep, PLATFORM),
    ("audit", audit.audit, PLATFORM),
    ("login", me.login, PLATFORM),
    ("whoami", me.whoami, PLATFORM),
    ("version", admin.version, PLATFORM),
    ("submit", jobs.submit, WORK),
    ("job", jobs.show_job, WORK),
    ("watch", jobs.watch, WORK),
    ("logs", jobs.logs, WORK),
    ("cancel", jobs.cancel, WORK),
    ("pause", jobs.pause, WORK),
    ("resume", jobs.resume, WORK),
    ("retry", jobs.retry, WORK),
    ("work", work.work, WORK),
    ("samplers", catalogues.list_samplers, WORK),
    ("pruners", catalogues.list_pruners, WORK),
    ("experiments", experiments.list_experiments, RESULTS),
    ("trials", experiments.list_trials, RESULTS),
    ("best", experiments.best, RESULTS),
    ("plot", plot.plot, RESULTS),
    ("export", interchange.export, RESULTS),
    ("import", interchange.import_, RESULTS),
)
JOB_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("list", trainings.list_trainings),
    ("show", jobs.show_job),
    ("create", trainings.create),
    ("update", trainings.update),
    ("delete", trainings.delete),
    ("run", trainings.run),
    ("retry", jobs.retry),
    ("cancel", jobs.cancel),
    ("pause", jobs.pause),
    ("resume", jobs.resume),
    ("executions", trainings.executions),
    ("logs", jobs.logs),
    ("watch", jobs.watch),
    ("validate", trainings.validate),
    ("export", training_exchange.export),
    ("import", training_exchange.import_),
)

for _name, _function, _panel in COMMANDS:
    app.command(_name, rich_help_panel=_panel, epilog=exits.EPILOG)(_function)
for _name, _command in JOB_COMMANDS:
    all_jobs.command(_name, epilog=exits.EPILOG)(_command)
all_jobs.callback()(jobs.list_jobs)
app.add_typer(all_jobs, name="jobs", rich_help_panel=WORK)
GROUPS = (
    (
        "db",
        "The database's tables: upgrade, current.",
        PLATFORM,
        (("upgrade", admin.upgrade), ("current", admin.current)),
    ),
    ("user", "Users and programs, and their tokens.", PLATFORM, users.COMMANDS),
    ("group", "Groups of users.", PLATFORM, people.GROUP_COMMANDS),
    ("workspace", "Workspaces, and who may do what in them.", PLATFORM, people.WORKSPACE_COMMANDS),
    ("token", "Your own tokens.", PLATFORM, me.TOKEN_COMMANDS),
    ("secret", "Secrets that trials are given by name.", WORK, secrets.COMMANDS),
    ("sessions", "Sessions: workspaces of datasets and scenarios.", RESULTS, sessions.COMMANDS),
    ("data", "Datasets of a session.", RESULTS, data.COMMANDS),
    ("scenarios", "Scenarios: algorithms on datasets, compared by their KPIs.", RESULTS, scenarios.COMMANDS),
    ("runs", "Models and their runs.", RESULTS, runs.COMMANDS),
    ("automl", "Models trained from templates.", RESULTS, automl.COMMANDS),
    ("notify", "Notifications: list, resend, test.", WORK, notify.COMMANDS),
)
for _group, _help, _panel, _commands in GROUPS:
    _typer = typer.Typer(no_args_is_help=True, help=_help, epilog=exits.EPILOG)
    for _name, _command in _commands:
        _typer.command(_name, epilog=exits.EPILOG)(_command)
    app.add_typer(_typer, name=_group, rich_help_panel=_panel)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(tunesmith.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an unexpected error came from.")] = False,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            metavar="NAME",
            help="The workspace to work in. Without it: TUNESMITH_WORKSPACE, else your own.",
            callback=options.remember_workspace,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Optimize any tool on a Ray cluster: `tunesmith up`, then `tunesmith submit FILE --wait`."""
