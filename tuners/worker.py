"""A trial worker: the Tune trial that evaluates batches of any job of its shape, for as long as there are any.

Ray Tune places it, restarts it when its process or node dies, and ends it; the points come straight from the runner.
One Tune trial per worker instead of one per evaluation, because Tune's own loop handles some 50 trials a second and
starts a process for each (1.2 to 1.8 s here); a worker's exchange with the runner costs about a millisecond.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import traceback
import uuid
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError

from tuners.messages import EXCHANGE_S, Advance, Batch, Evaluation, Outcome, Report, Stop
from tuners.tools.evaluate import evaluate
from tuners.tools.outcome import failure
from tunesmith.domain import Parameter, Scalar, TrialState, utcnow

log = logging.getLogger(__name__)

NICE = 10
"""Niceness of trials: the service that serves everybody goes first."""
STEP_S = 5.0
"""Seconds of work that one Tune step covers: Tune hears of a worker this often."""
BEAT_S = 0.5
"""Seconds between two beats of a running evaluation, which carry reports there and stops back."""
WATCHED_S = 0.02
"""The same where a pruner looks at the reports: what a tool reports faster than this is sent together."""
TOLD_S = 0.2
"""The same where the tool tells how far it is."""
SEND_S = 0.05
"""Outcomes of a batch are sent on when they are this old, in seconds."""


class TrialWorker(tune.Trainable):
    """Asks the runner for batches and evaluates them."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What Tune reserves for a worker: the resources of one trial of its shape."""
        return tune.PlacementGroupFactory([config["bundle"]])

    def setup(self, config: dict[str, Any]) -> None:
        """Find the runner, and leave the processors to the service where both want them."""
        with contextlib.suppress(OSError):
            os.nice(NICE - os.nice(0))
        self.runner = ray.get_actor(config["runner"], namespace=config["namespace"])
        self.worker_id: str = config["worker_id"]
        self.incarnation = uuid.uuid4().hex
        self.evaluated = 0
        self.exchange_s = EXCHANGE_S
        here = ray.get_runtime_context()
        self.runner.greet.remote(self.worker_id, here.current_actor, here.get_node_id())

    def step(self) -> dict[str, Any]:
        """Work for STEP_S seconds, or until the runner sends it home."""
        end = time.monotonic() + STEP_S
        outcomes: list[Outcome] = []
        while True:
            began = time.monotonic()
            wait_s = max(0.0, end - began)
            answer: Any = ray.get(
                self.runner.exchange.remote(self.worker_id, self.incarnation, outcomes, wait_s, self.exchange_s)
            )
            outcomes = []
            if isinstance(answer, Batch):
                took_s = max(1e-5, time.monotonic() - began - answer.held_s)
                self.exchange_s += 0.2 * (took_s - self.exchange_s)
            if answer == "leave":
                return {"evaluated": self.evaluated, "done": True}
            if answer is not None:
                outcomes = BatchRun(self.runner, self.worker_id, answer).run()
                self.evaluated += len(answer.evaluations)
            elif wait_s == 0:
                return {"evaluated": self.evaluated}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A worker has no state: what it knew is in SQL."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """A worker has no state."""


class BatchRun:
    """The evaluation of one batch, in order, with its outcomes sent on as they come."""

    def __init__(self, runner: Any, worker_id: str, batch: Batch) -> None:
        self.runner, self.worker_id, self.batch = runner, worker_id, batch
        self.current: Evaluation = batch.evaluations[0]
        self.stops: dict[int, Stop] = {}
        self.reports: list[Report] = []
        self.advance: Advance | None = None
        self.unsent: list[Outcome] = []
        self.began = self.last_sent = time.monotonic()
        self.last_beat = 0.0

    def run(self) -> list[Outcome]:
        """Evaluate every point that was not stopped; returns the outcomes that were not sent on yet."""
        for evaluation in self.batch.evaluations:
            if evaluation.number in self.stops:
                continue  # the runner puts back what it gets no outcome for
            self.current = evaluation
            self._send()
            outcome = self._evaluate(evaluation)
            self.unsent.append(outcome)  # not in one line: a beat meanwhile begins a new list
            if outcome.state is TrialState.PRUNED:
                self._beat()  # it did listen
        if self.reports:
            self._beat()
        return self.unsent

    def _evaluate(self, evaluation: Evaluation) -> Outcome:
        started = utcnow()
        try:
            return evaluate(self.batch, evaluation, self.watch, self.suggest, self.tell)
        except RayError:
            raise  # the runner is gone
        except Exception:  # one trial's trouble, not the worker's
            return failure(self.batch, evaluation, started, traceback.format_exc(limit=-20))

    def watch(self, measured: list[tuple[str, int, float]]) -> Stop | None:
        """Collect intermediate values, and learn now and then from the runner whether to stop."""
        self.reports += [Report(self.batch.job_id, self.current.number, *values) for values in measured]
        self._send()
        # The first report goes at once, and nothing else does: a short evaluation costs no beat.
        since = self.last_beat if self.reports else max(self.last_beat, self.began)
        if time.monotonic() - since >= self._pause_s():
            self._beat()
        return self.stops.get(self.current.number)

    def tell(self, percent: int, message: str | None) -> None:
        """Note how far the running trial is; it goes on with the next beat."""
        self.advance = Advance(self.current.number, percent, message)

    def suggest(self, parameter: Parameter) -> Scalar:
        """One parameter of the running trial, for a function that asks for them while it runs."""
        number = self.current.number
        value: Scalar = ray.get(self.runner.suggest.remote(self.batch.job_id, number, parameter))
        return value

    def _send(self) -> None:
        """Send outcomes on that are old enough: none waits for a long evaluation behind it."""
        if not self.unsent:
            self.last_sent = time.monotonic()
        elif time.monotonic() - self.last_sent > SEND_S:
            self._beat()
            self.last_sent = time.monotonic()

    def _pause_s(self) -> float:
        if self.reports and self.batch.watched:
            return WATCHED_S
        return BEAT_S if self.advance is None else TOLD_S

    def _beat(self) -> None:
        reports, self.reports = self.reports, []
        outcomes, self.unsent = self.unsent, []
        advance, self.advance = self.advance, None
        here = (self.worker_id, self.batch.job_id, self.current.number)
        beat = self.runner.beat.remote(*here, reports, outcomes, advance)
        self.stops |= ray.get(beat)
        self.last_beat = time.monotonic()


def quiet() -> None:
    """Switch off what Tune does per trial and we do not need: loggers, checkpoints, warnings about slow starts."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    os.environ.update(
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
        TUNE_GLOBAL_CHECKPOINT_S="100000000",
        TUNE_DISABLE_SIGINT_HANDLER="1",
        TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S="100000000",
        TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER="100000000",
        TUNE_MAX_PENDING_TRIALS_PG="64",
        RAY_CHDIR_TO_TRIAL_DIR="0",
        RAY_AIR_NEW_OUTPUT="0",
    )
