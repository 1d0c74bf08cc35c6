"""The dispatcher: claims queued jobs for the runner, keeps a runner alive, and frees the jobs of one that died."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import ray
from ray.exceptions import RayActorError

from serve_app.housekeeper import Housekeeper
from serve_app.notifying import Sender
from tuners.names import NAMESPACE, RUNNER
from tunesmith.domain import utcnow
from tunesmith.errors import DatabaseUnavailable
from tunesmith.journal import keep_journal
from tunesmith.services.dispatching import claim, look
from tunesmith.settings import load_settings
from tunesmith.store import open_store

log = logging.getLogger("tunesmith.dispatcher")

LOOK_S = 1.0
"""Seconds between two looks at the queue when nobody rings."""


class Dispatcher:
    """One per platform; a second one at the same time does no harm, as every claim is a transaction."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        os.environ.update(environ)
        self.environ = dict(environ)
        self.settings = load_settings()
        keep_journal(self.settings, "dispatcher")
        self.store = open_store(self.settings.database)
        self.rung = threading.Event()
        self.stopping = False
        self.runner: Any = None
        self.owner = ""
        self.blind_until = 0.0
        self.next_moment: datetime | None = None
        self.sender = Sender(self.store, self.settings)
        self.sender.start()
        self.housekeeper = Housekeeper(self.store, self.settings)
        self.housekeeper.start()
        self.thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self.thread.start()

    def __del__(self) -> None:
        """Serve calls it when the replica is to end: no further notification is taken up."""
        self.sender.stop()
        self.housekeeper.stop()

    def check_health(self) -> None:
        """Raise, so that Serve makes a new replica, when the loop has died."""
        if not self.thread.is_alive() and not self.stopping:
            raise RuntimeError("the dispatcher's loop died")

    def _run(self) -> None:
        while not self.stopping:
            try:
                self._look()
            except DatabaseUnavailable as error:
                # While the database is away nobody can renew a lease; when it is back, they get time to.
                self.blind_until = time.monotonic() + self.settings.lease_s
                log.warning("the database is away: %s", error)
            except RayActorError:
                self._runner_died(self.runner)
            except Exception:
                log.exception("the dispatcher stumbled; it goes on")
                time.sleep(LOOK_S)
            self.sender.ring()
            self.rung.wait(self._pause_s())
            self.rung.clear()

    def _pause_s(self) -> float:
        """Seconds until the next look: a schedule fires, and a retry begins, at its moment."""
        if self.next_moment is None:
            return LOOK_S
        return min(LOOK_S, max(0.0, (self.next_moment - utcnow()).total_seconds()))

    def _look(self) -> None:
        agenda = look(self.store)
        self.next_moment = agenda.next_moment
        runner = self.runner or self._find_runner()
        seeing = time.monotonic() >= self.blind_until
        claimed = claim(self.store, agenda, self.owner, self.settings, recover=seeing)
        ray.get([runner.start.remote(job) for job in claimed], timeout=self.settings.lease_s)

    def _find_runner(self) -> Any:
        from tuners.runner import Runner  # Ray Tune and Optuna: only here, and not where this class is deployed from

        warm = self.settings.warm_workers if self.settings.ray_address is None else 0
        owner = f"runner-{secrets.token_hex(6)}"
        autoscaling = self.settings.ray_address is not None
        runner: Any = (
            ray.remote(Runner)
            .options(
                name=RUNNER,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_concurrency=10_000,
                scheduling_strategy=beside_the_database(self.settings.embedded),
            )
            .remote(self.environ, owner, warm, autoscaling)
        )
        status: Any = ray.get(runner.status.remote(), timeout=60)
        self.owner = status["owner"]
        self.runner = runner
        threading.Thread(target=self._listen, args=(runner,), name="runner's bell", daemon=True).start()
        return runner

    def _listen(self, runner: Any) -> None:
        """Ring when the runner does, and notice its death at once."""
        heard: Any = None
        while not self.stopping and self.runner is runner:
            try:
                heard = ray.get(runner.watch.remote(heard))
            except RayActorError:
                self._runner_died(runner)
                return
            except Exception:
                time.sleep(LOOK_S)
            self.rung.set()

    def _runner_died(self, runner: Any) -> None:
        if runner is not self.runner:
            return  # an old one's death, told late
        owner, self.runner, self.owner = self.owner, None, ""
        if owner and not self.stopping:
            log.warning("the runner died; its jobs go on with a new one")
            with self.store.write() as tx:
                tx.recover_jobs(owner)
        self.rung.set()


def stop_work() -> None:
    """Stop every evaluation and give all running jobs back to the queue (at the platform's end)."""
    try:
        runner = ray.get_actor(RUNNER, namespace=NAMESPACE)
    except ValueError:
        return
    try:
        ray.get(runner.shutdown.remote(), timeout=25)
    finally:
        ray.kill(runner)


def beside_the_database(embedded: bool) -> Any:
    """SQLite is a file of this node: the runner has to be here too."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not embedded:
        return "DEFAULT"
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
