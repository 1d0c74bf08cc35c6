"""Whatever is sent to whatever the OpenAPI document names: no 5xx, and no answer that the document does not promise."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from serve_app.app import build
from tunesmith.data import new_files, write_tables
from tunesmith.domain import ExperimentSpec, JobState, ProgramTool, Space, TrainingPlan
from tunesmith.domain.identity import Role
from tunesmith.plugins import Registry
from tunesmith.scenarios.example import example_data
from tunesmith.services import identity, scenarios, sessions, tokens, trainings
from tunesmith.settings import Settings
from tunesmith.storage import Storage
from tunesmith.store import Store, open_store
from tunesmith.testing import finished_trial, memory_store, new_experiment, queued_job, running_job
from tunesmith.testing.postgres import PostgresServer
from tunesmith.testing.training_contract import claim, finish

load_all_checks()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    missing_required_header,
    unsupported_method,
    allow_header_conformance,
]
EXAMPLE = "tunesmith.scenarios.example:build_example_config"
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
BOUNDED = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=QUIET)
WHO: dict[str, Role | None] = {"anonymous": None, "viewer": "viewer", "runner": "runner", "editor": "editor",
                               "admin": "admin"}  # fmt: skip
OF_ROLES = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
THOROUGH = settings(max_examples=1000, deadline=None, suppress_health_check=QUIET)
pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # a generated pattern that Python's `re` has doubts about
]


def operations() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as path:
        paths = build(Settings(data_dir=Path(path)), store=memory_store()).openapi()["paths"]
    return (f"{method.upper()} {path}" for path, methods in paths.items() for method in methods)


OPERATIONS = list(operations())


@pytest.fixture(scope="module")
def on_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("fuzz")
    (path / "tunesmith.db").write_bytes(sqlite_template.read_bytes())
    yield from document(open_store(f"sqlite:///{path / 'tunesmith.db'}"), path)


@pytest.fixture(scope="module")
def on_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with postgres.database() as url:
        yield from document(open_store(url), tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def in_prod(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    """The document of a service that asks who asks, and a token of each role in its workspace."""
    path = tmp_path_factory.mktemp("fuzz")
    (path / "tunesmith.db").write_bytes(sqlite_template.read_bytes())
    store, secrets_of = open_store(f"sqlite:///{path / 'tunesmith.db'}"), {}
    with store.write() as tx:
        tx.default_workspace()
        for who, role in WHO.items():
            if role is not None:
                secrets_of[who] = tokens.issue(tx, identity.put_user(tx, who, "main", role), "fuzz")[0]
    unlimited = {"rate_reads": None, "rate_writes": None, "rate_work": None, "runs_rate": None}
    for schema in document(store, path, mode="prod", api_key=secrets.token_hex(16), **unlimited):
        yield schema, secrets_of


def document(store: Store, path: Path, **more: Any) -> Iterator[Any]:
    """The OpenAPI document of a service that has something to show, and its generated ids sometimes real ones."""
    ended, steered = history(store), queued_job(store, new_experiment(store)).id
    trained, trainable = executed(store), executed(store)
    there = {"session_id": "main", "key": "example_data", "name": "Slow", "scenario_id": scenario(store, path)}
    config = SchemathesisConfig(
        projects=ProjectsConfig(
            default=ProjectConfig(generation=GenerationConfig(allow_x00=True, with_security_parameters=not more))
        )
    )
    chosen = Settings(data_dir=path, max_body_bytes=10**9, **more)
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json",
        build(chosen, store=store, registry=Registry.load((EXAMPLE,))),
        config=config,
        headers={"X-API-Key": chosen.api_key or ""} if more else {},
    )

    @schema.hook("map_path_parameters")
    def real_ids(context: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        if parameters and "session_id" in parameters:
            kept = context.operation.method != "delete" and len(str(parameters["session_id"])) % 4
            return {name: there[name] if kept else given for name, given in parameters.items()}
        given = str((parameters or {}).get("job_id", ""))
        if parameters and (len(given) % 2 or given in ("running", "queued", "failed")):  # these are lists, not ids
            # A stream of a job that has not ended would never end.
            looked_at, acted_on = (
                (trained, trainable) if context.operation.path.startswith("/jobs/") else (ended, steered)
            )
            return parameters | {"job_id": looked_at if context.operation.method == "get" else acted_on}
        return parameters

    yield schema
    store.close()


def history(store: Store) -> str:
    experiment = new_experiment(store, ("time", "size"))
    job = running_job(store, experiment)
    with store.write() as tx:
        tx.record(job.id, str(job.lease_token), experiment, [finished_trial(job, n, n, -n) for n in range(5)])
        tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
    return job.id


def executed(store: Store) -> str:
    """A training job that has run."""
    name = secrets.token_hex(4)
    spec = ExperimentSpec(tool_name=name, tool=ProgramTool(command=("true",)), space=Space(parameters=()))
    with store.write() as tx:
        training = trainings.create(tx, name, spec, TrainingPlan())
    (job,) = [job for job in claim(store) if job.training_id == training.id]
    finish(store, job)
    return training.id


def scenario(store: Store, path: Path) -> str:
    """A scenario over the dataset of the example, not yet run."""
    registry, files, source = Registry.load((EXAMPLE,)), new_files(), example_data()
    with store.write() as tx:
        session = sessions.ensure(tx)
        tx.begin_upload(files)
    tables, size = write_tables(Storage(str(path / "artifacts")), files, source)
    with store.write() as tx:
        tx.put_dataset(session.id, source.name, source.type, files, tables, source.metadata, size)
        return scenarios.create(tx, registry, session, "first", source.name, "Slow").id


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_keeps_its_promises(on_sqlite: Any, operation: str) -> None:
    fuzz(on_sqlite, operation, BOUNDED)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_keeps_its_promises_at_length(on_sqlite: Any, operation: str) -> None:
    fuzz(on_sqlite, operation, THOROUGH)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_keeps_its_promises_on_postgres(on_postgres: Any, operation: str) -> None:
    fuzz(on_postgres, operation, THOROUGH)


@pytest.mark.slow
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_keeps_its_promises_to_every_role(
    in_prod: tuple[Any, dict[str, str]], operation: str, who: str
) -> None:
    schema, secrets_of = in_prod
    headers = {"Authorization": f"Bearer {secrets_of[who]}"} if who in secrets_of else {}
    fuzz(schema, operation, BOUNDED, OF_ROLES, headers)


def fuzz(
    schema: Any, operation: str, bounds: settings, checks: list[Any] = CHECKS, headers: dict[str, str] | None = None
) -> None:
    """Send valid and invalid requests, as many as the bounds say."""
    method, path = operation.split()
    described = schema[path][method]
    cases = [described.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @bounds
    @given(case=strategies.one_of(cases))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=checks, headers=headers)

    check()
