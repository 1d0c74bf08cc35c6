"""Eight workers over gRPC: `tunesmith optuna-server` beside Optuna's own proxy over its RDBStorage, in one run.

Run it as `python -m tests.bench.bench_optuna_grpc`; it needs about two minutes and leaves nothing behind.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tunesmith.store import open_store
from tunesmith.testing.postgres import postgres_server

WORKERS = 8
TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
"""Trials of each worker."""
TARGET = 3.0
OURS = """
    from tunesmith.optuna.server import OptunaServer
    server = OptunaServer({url!r}, port=0)
    server.start()
    print(server.port, flush=True)
    sys.stdin.readline()
    server.stop()
"""
THEIRS = """
    from optuna.storages import get_storage
    from optuna.storages._grpc.server import make_server
    server = make_server(get_storage({url!r}), "localhost", 0)
    print(server.add_insecure_port("localhost:0"), flush=True)
    server.start()
    sys.stdin.readline()
    server.stop(0).wait()
"""
WORKER = """
    storage = optuna.storages.GrpcStorageProxy(port={port})
    study = optuna.create_study(
        study_name="s", storage=storage, load_if_exists=True, sampler=optuna.samplers.RandomSampler()
    )
    objective = lambda trial: sum(trial.suggest_float(f"x{{i}}", 0, 1) for i in range(5))
    study.optimize(objective, n_trials=2)
    print("ready", flush=True)
    sys.stdin.readline()
    study.optimize(objective, n_trials={trials})
    print("done", flush=True)
    sys.stdin.readline()
"""
HEAD = """
    import sys, optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
"""


def main() -> None:
    """Measure, and print what was measured beside its target."""
    print(f"{WORKERS} workers, {WORKERS * TRIALS} trials of 5 parameters, random sampler     trials a second")
    for database in ("sqlite", "postgres"):
        with fresh_databases(database) as (ours, theirs):
            rates = {
                name: rate(script, url) for name, script, url in (("Optuna", THEIRS, theirs), ("ours", OURS, ours))
            }
        ratio = rates["ours"] / rates["Optuna"]
        verdict = "ok" if ratio >= TARGET else "MISSED"
        print(f"{database:10} {rates['ours']:8.1f}, Optuna's proxy {rates['Optuna']:8.1f}: {ratio:.1f} times", end=" ")
        print(f"(target {TARGET:g}: {verdict})")


def rate(server_script: str, url: str) -> float:
    """Trials a second, from the moment when all workers are connected to the moment when the last one is done."""
    with ExitStack() as stack:
        server = stack.enter_context(script(server_script.format(url=url)))
        port = int(hear(server))
        body = WORKER.format(port=port, trials=TRIALS)
        workers = [stack.enter_context(script(body)) for _ in range(WORKERS)]
        for worker in workers:
            assert hear(worker) == "ready"
        started = time.perf_counter()
        for worker in workers:
            say(worker)
        for worker in workers:
            assert hear(worker) == "done"
        return WORKERS * TRIALS / (time.perf_counter() - started)


@contextmanager
def script(body: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that ends with the block."""
    code = textwrap.dedent(HEAD) + textwrap.dedent(body)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def hear(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str]) -> None:
    """Let a process go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@contextmanager
def fresh_databases(kind: str) -> Iterator[tuple[str, str]]:
    """The URLs of two empty databases of a kind: ours and Optuna's."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/ours.db"
            store = open_store(url)
            store.upgrade()
            store.close()
            yield url, f"sqlite:///{Path(folder) / 'theirs.db'}"
    else:
        with postgres_server() as server, server.database() as ours, server.database(migrated=False) as theirs:
            server.durable()
            yield ours, theirs


if __name__ == "__main__":
    main()
