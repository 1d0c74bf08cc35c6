"""Ask and tell over REST, on every database: leases, tokens, repeats, pruning, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve_app.app import build
from tunesmith.domain import JobState, Trial, TrialState
from tunesmith.settings import Settings
from tunesmith.store import Store
from tunesmith.store.asking import MAX_ATTEMPTS
from tunesmith.testing import finished_trial, new_experiment, race, running_job

X = {"name": "x", "minimum": 0, "maximum": 1}
FINITE = [
    {"name": "n", "type": "int", "minimum": 1, "maximum": 3},
    {"name": "c", "type": "categorical", "choices": ["a", True, 1, None]},
]
POINTS = 12


class Asker:
    """An experiment, and a worker that asks for its trials."""

    def __init__(self, api: TestClient, **content: Any) -> None:
        self.api = api
        body = {"tool_name": "asked", "external": True, "parameters": [X], "objectives": [{"metric": "loss"}]} | content
        self.id = api.post("/api/v1/experiments", json=body).json()["id"]

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        return self.api.post(f"/api/v1/experiments/{self.id}/{path}", json=body, headers=headers)

    def ask(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.post("ask", body)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["trials"])

    def tell(self, trial: dict[str, Any], value: float = 0.5, **body: Any) -> Any:
        return self.post(f"trials/{trial['number']}/tell", {"token": trial["token"], "value": value} | body)

    def trial(self, number: int) -> dict[str, Any]:
        return dict(self.api.get(f"/api/v1/experiments/{self.id}/trials/{number}").json())

    def counts(self) -> dict[str, int]:
        found = self.api.get(f"/api/v1/experiments/{self.id}").json()["trial_counts"]
        return {state: count for state, count in found.items() if count}


@pytest.fixture
def api(settings: Settings, store: Store) -> Iterator[TestClient]:
    with TestClient(build(settings, store=store)) as client:
        yield client


@pytest.fixture
def asker(api: TestClient) -> Asker:
    return Asker(api)


class TestLeases:
    def test_what_is_asked_for_is_told_and_is_the_experiments(self, asker: Asker) -> None:
        (trial,) = asker.ask(worker="w1")
        assert (trial["number"], trial["attempt"]) == (0, 1)
        told = asker.tell(trial, 0.25, metrics={"seconds": 3.0}).json()
        assert (told["state"], told["outcome"], told["worker"]) == ("complete", 0.25, "w1")
        assert told["metrics"] == {"loss": 0.25, "seconds": 3.0}
        best = asker.api.get(f"/api/v1/experiments/{asker.id}/best").json()
        assert (best["number"], best["outcome"]) == (0, 0.25)

    def test_a_lease_that_ran_out_gives_the_point_to_somebody_else_and_fences_the_first_worker(
        self, asker: Asker
    ) -> None:
        (lost,) = asker.ask(worker="lost", lease_s=1)
        asker.post(f"trials/{lost['number']}/report", {"token": lost["token"], "step": 1, "value": 9.0, "lease_s": 1})
        time.sleep(1.2)
        (again,) = asker.ask(worker="other")
        assert (again["number"], again["params"], again["attempt"]) == (lost["number"], lost["params"], 2)
        assert asker.trial(lost["number"])["measurements"] == []
        for path, body in (
            ("tell", {"value": 1.0}),
            ("report", {"step": 2, "value": 1.0}),
            ("heartbeat", {}),
            ("fail", {}),
        ):
            late = asker.post(f"trials/{lost['number']}/{path}", {"token": lost["token"]} | body)
            assert (late.status_code, late.json()["code"]) == (409, "TRIAL_TAKEN"), path
        assert asker.trial(lost["number"])["state"] == "running"
        assert asker.tell(again, 0.5).json()["outcome"] == 0.5

    def test_a_heartbeat_and_a_report_keep_the_lease(self, asker: Asker) -> None:
        (trial,) = asker.ask(lease_s=1)
        for turn in range(4):
            time.sleep(0.4)
            path, body = ("heartbeat", {}) if turn % 2 else ("report", {"step": turn, "value": 1.0})
            sent = asker.post(f"trials/{trial['number']}/{path}", {"token": trial["token"], "lease_s": 1} | body)
            assert sent.status_code == 200, sent.text
            assert trial["number"] not in {other["number"] for other in asker.ask()}
        assert asker.tell(trial).status_code == 200

    def test_a_worker_that_asks_again_gets_its_own_trials_back(self, asker: Asker) -> None:
        first = asker.ask(worker="w", count=2)
        second = asker.ask(worker="w", count=3)
        assert [t["number"] for t in second][:2] == [t["number"] for t in first]
        assert [t["attempt"] for t in second] == [2, 2, 1]
        assert {t["number"] for t in asker.ask(worker="other", count=3)}.isdisjoint(t["number"] for t in second)
        assert asker.tell(first[0]).status_code == 409
        assert asker.tell(second[0]).status_code == 200

    def test_a_trial_whose_workers_all_go_silent_fails_in_the_end(self, asker: Asker) -> None:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            (trial,) = asker.ask(worker=f"w{attempt}", lease_s=1)
            assert (trial["number"], trial["attempt"]) == (0, attempt)
            time.sleep(1.1)
        assert asker.ask()[0]["number"] == 1
        assert asker.trial(0)["state"] == "failed"
        assert "went silent while it held this trial, at attempt 5 of at most 5" in asker.trial(0)["error"]

    def test_a_worker_that_has_to_go_leaves_its_point_to_another(self, asker: Asker) -> None:
        (trial,) = asker.ask()
        freed = asker.post(f"trials/{trial['number']}/fail", {"token": trial["token"], "again": True}).json()
        assert (freed["state"], freed["attempt"]) == ("waiting", 2)
        assert asker.ask()[0]["params"] == trial["params"]

    def test_failed_trials_say_why(self, asker: Asker) -> None:
        (trial,) = asker.ask()
        failed = asker.post(f"trials/{trial['number']}/fail", {"token": trial["token"], "error": "boom"}).json()
        assert (failed["state"], failed["error"]) == ("failed", "boom")


class TestPoints:
    def test_points_to_try_come_first_and_constraints_hold(self, api: TestClient) -> None:
        y = {"name": "y", "minimum": 0, "maximum": 1}
        asker = Asker(api, parameters=[X, y], parameter_constraints=["x + y <= 0.5"])
        first = [{"x": 0.1, "y": 0.2}, {"x": 0.0, "y": 0.0}]
        found = asker.ask(count=30, optimizer={"type": "tpe", "enqueue": first, "seed": 1})
        assert [trial["params"] for trial in found[:2]] == first
        assert all(sum(trial["params"].values()) <= 0.5 for trial in found)

    def test_a_point_to_try_outside_the_space_is_refused_and_changes_nothing(self, asker: Asker) -> None:
        refused = asker.post("ask", {"optimizer": {"type": "tpe", "enqueue": [{"x": 2.0}]}})
        assert refused.status_code == 400
        assert "enqueue.0: x: 2.0 lies outside" in refused.json()["error"]
        assert asker.counts() == {}

    @pytest.mark.parametrize("sampler", ["random", "tpe", "grid", "brute_force", "auto", "nsga2"])
    def test_a_finite_space_is_gone_through_without_a_repeat(self, api: TestClient, store: Store, sampler: str) -> None:
        asker = Asker(api, parameters=FINITE)
        optimizer: dict[str, Any] = {"type": sampler, "seed": 3}
        if sampler == "grid":
            optimizer["num_configs_per_param"] = [3, 4]
        with store.write() as tx:  # one was made by somebody else
            experiment = tx.experiment(asker.id)
            tx.write_trials(experiment, [_foreign(experiment.id, {"n": 2, "c": True})])
        seen = [(2, "true")]
        while (answer := asker.post("ask", {"count": 4, "optimizer": optimizer})).status_code == 200:
            assert answer.json()["trials"], answer.text
            for trial in answer.json()["trials"]:
                seen.append((trial["params"]["n"], repr(trial["params"]["c"]).lower()))
                assert asker.tell(trial, trial["params"]["n"]).status_code == 200
        assert (answer.status_code, answer.json()["code"]) == (409, "EXHAUSTED")
        assert len(seen) == len(set(seen)) == POINTS

    def test_while_the_last_points_are_open_nobody_is_sent_away(self, api: TestClient) -> None:
        asker = Asker(api, parameters=FINITE)
        trials = asker.ask(count=50)
        assert len(trials) == POINTS
        waiting = asker.post("ask").json()
        assert waiting["trials"] == []
        assert waiting["retry_after_s"] > 0
        for trial in trials:
            asker.tell(trial)
        assert asker.post("ask").json()["code"] == "EXHAUSTED"

    def test_a_search_ends_with_its_number_of_trials_or_its_goal(self, api: TestClient) -> None:
        counted = Asker(api)
        for trial in counted.ask(count=9, optimizer={"type": "random", "n_iter": 3}):
            counted.tell(trial)
        ended = counted.post("ask").json()
        assert ended["code"] == "EXHAUSTED"
        assert "all 3 trials" in ended["error"]
        goal = Asker(api, tool_name="goal")
        goal.tell(goal.ask(optimizer={"type": "tpe", "goal": 0.5})[0], 0.1)
        assert "reached the goal" in goal.post("ask").json()["error"]

    def test_trials_of_jobs_and_of_workers_are_numbered_and_learnt_from_together(
        self, api: TestClient, store: Store
    ) -> None:
        asker = Asker(api, external=False, command_template_string="echo ${x}")
        assert asker.ask()[0]["number"] == 0
        with store.read() as tx:
            experiment = tx.experiment(asker.id)
        job = running_job(store, experiment)
        with store.write() as tx:
            first = tx.reserve_job_numbers(job.id, str(job.lease_token), 4)
            own = [finished_trial(job, first + i, 0.1, params={"x": 0.5}) for i in range(2)]
            tx.record(job.id, str(job.lease_token), experiment, own)
        numbers = [trial["number"] for trial in asker.ask(count=3)]
        assert numbers == [first + 4, first + 5, first + 6]
        with store.write() as tx:
            tx.end_lease(job.id, str(job.lease_token), JobState.SUCCEEDED)
        assert asker.ask()[0]["number"] == first + 7

    def test_a_narrowed_space_is_searched_at_once(self, asker: Asker) -> None:
        asker.ask(optimizer={"type": "random"})
        assert asker.counts()["waiting"] > 0  # prepared ahead, in the wide space
        narrow = {"parameters": [X | {"minimum": 0.9}]}
        asker.api.patch(f"/api/v1/experiments/{asker.id}", json=narrow)
        assert all(trial["params"]["x"] >= 0.9 for trial in asker.ask(count=20))

    def test_the_same_seed_gives_the_same_points(self, api: TestClient) -> None:
        def points(name: str) -> list[Any]:
            asker, found = Asker(api, tool_name=name), []
            for _ in range(15):
                (trial,) = asker.ask(optimizer={"type": "tpe", "seed": 7})
                asker.tell(trial, trial["params"]["x"])
                found.append(trial["params"])
            return found

        assert points("one") == points("two")

    def test_a_study_that_begins_again_from_sql_suggests_what_an_undisturbed_one_does(
        self, settings: Settings, store: Store
    ) -> None:
        def points(name: str, restarts: bool) -> list[Any]:
            found = []
            client = TestClient(build(settings, store=store))
            asker = Asker(client, tool_name=name)
            for turn in range(24):
                if restarts and turn % 5 == 4:
                    asker.api = TestClient(build(settings, store=store))  # it knows nothing
                (trial,) = asker.ask(optimizer={"type": "tpe", "seed": 7})
                asker.tell(trial, trial["params"]["x"] ** 2)
                found.append(trial["params"])
            return found

        assert points("calm", restarts=False) == points("restarted", restarts=True)


class TestPruning:
    def test_a_hopeless_trial_is_told_to_end(self, asker: Asker) -> None:
        optimizer = {"type": "random", "pruner": {"type": "median", "n_startup_trials": 2, "n_warmup_steps": 0}}
        for value in (3.0, 2.0, 1.0):
            (trial,) = asker.ask(optimizer=optimizer)
            for step in range(3):
                assert not self.report(asker, trial, step, value)
            asker.tell(trial, value)
        (bad,) = asker.ask()
        assert self.report(asker, bad, 0, 99.0)
        assert asker.tell(bad, 99.0, state="pruned").json()["state"] == "pruned"
        (good,) = asker.ask()
        assert not self.report(asker, good, 0, 0.5)

    def report(self, asker: Asker, trial: dict[str, Any], step: int, value: float) -> bool:
        body = {"token": trial["token"], "step": step, "value": value}
        return bool(asker.post(f"trials/{trial['number']}/report", body).json()["prune"])


class TestRaces:
    def test_of_two_that_tell_at_once_one_wins(self, asker: Asker) -> None:
        for _ in range(5):
            (trial,) = asker.ask()
            answers: list[Any] = race(*(partial(asker.tell, trial, value) for value in (1.0, 2.0, 3.0)))
            assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
            (winner,) = (answer.json()["outcome"] for answer in answers if answer.status_code == 200)
            assert asker.trial(trial["number"])["outcome"] == winner

    def test_many_workers_at_once_never_share_a_trial(self, asker: Asker) -> None:
        def work(worker: int) -> list[int]:
            found = []
            for _ in range(10):
                (trial,) = asker.ask(worker=f"w{worker}", optimizer=None)
                found.append(trial["number"])
                assert asker.tell(trial).status_code == 200
            return found

        asker.ask(worker="first", optimizer={"type": "random"})
        with ThreadPoolExecutor(6) as pool:
            numbers = [number for found in pool.map(work, range(6)) for number in found]
        assert len(numbers) == len(set(numbers)) == 60
        assert asker.counts()["complete"] == 60

    def test_a_repeated_request_hands_out_nothing_twice(self, asker: Asker) -> None:
        first, again = (asker.post("ask", {"count": 2}, **{"Idempotency-Key": "k"}) for _ in range(2))
        assert first.json() == again.json()
        assert asker.counts()["running"] == 2
        (trial, _) = first.json()["trials"]
        body = {"token": trial["token"], "value": 1.0}
        told = [asker.post(f"trials/{trial['number']}/tell", body, **{"Idempotency-Key": "t"}) for _ in range(2)]
        assert [answer.status_code for answer in told] == [200, 200]

    def test_trials_told_together_are_judged_one_by_one(self, asker: Asker) -> None:
        one, two, three = asker.ask(count=3)
        asker.tell(two)
        told = [{"number": t["number"], "token": t["token"], "value": 1.0} for t in (one, two)]
        told.append({"number": three["number"], "token": "wrong", "value": 1.0})
        answer = asker.post("tell", {"trials": told}).json()
        assert answer["told"] == 1
        assert [t["code"] for t in answer["trials"]] == [None, "TRIAL_FINISHED", "TRIAL_TAKEN"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({}, "'loss' has no value"),
            ({"values": {"gain": 1.0}}, "it was told gain"),
            ({"value": "1.0"}, "valid number"),
            ({"value": 1.0, "values": {"loss": 2.0}}, "differ"),
            ({"value": 1.0, "state": "running"}, "complete"),
            ({"value": 1.0, "wat": 1}, "wat"),
        ],
        ids=str,
    )
    def test_a_tell_that_makes_no_sense_is_refused_and_the_trial_stays_open(
        self, asker: Asker, body: dict[str, Any], says: str
    ) -> None:
        (trial,) = asker.ask()
        refused = asker.post(f"trials/{trial['number']}/tell", {"token": trial["token"]} | body)
        assert refused.status_code == 400
        assert says in refused.json()["error"]
        assert asker.trial(trial["number"])["state"] == "running"

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_a_number_that_is_none_is_refused(self, asker: Asker, number: str) -> None:
        (trial,) = asker.ask()
        for path, field in (("tell", '"value"'), ("report", '"step": 1, "value"')):
            refused = asker.api.post(
                f"/api/v1/experiments/{asker.id}/trials/{trial['number']}/{path}",
                content=f'{{"token": "{trial["token"]}", {field}: {number}}}',
                headers={"Content-Type": "application/json"},
            )
            assert refused.status_code == 400, refused.text
        assert asker.trial(trial["number"])["measurements"] == []

    @pytest.mark.parametrize(
        "body",
        [{"count": 0}, {"count": 1_000_000}, {"count": 1.5}, {"worker": "w" * 201}, {"worker": ""}, {"lease_s": 0}],
    )
    def test_an_ask_that_makes_no_sense_is_refused(self, asker: Asker, body: dict[str, Any]) -> None:
        refused = asker.post("ask", body)
        assert refused.status_code == 400
        assert next(iter(body)) in refused.json()["error"]

    @pytest.mark.parametrize("field", ["budget_s", "max_concurrent"])
    def test_what_only_jobs_have_is_refused(self, asker: Asker, field: str) -> None:
        refused = asker.post("ask", {"optimizer": {"type": "tpe", field: 3}})
        assert (refused.status_code, field in refused.json()["error"]) == (400, True)
        assert asker.post("ask", {"optimizer": {"type": "pbt", "n_iter": 4}}).status_code == 400

    def test_trials_of_another_experiment_and_none_are_not_found(self, api: TestClient) -> None:
        one, two = Asker(api, tool_name="one"), Asker(api, tool_name="two")
        (trial,) = one.ask()
        assert two.tell(trial).status_code == 404
        assert one.post("trials/99/tell", {"token": "t", "value": 1.0}).status_code == 404
        assert Asker.tell(two, two.ask()[0] | {"token": trial["token"]}).json()["code"] == "TRIAL_TAKEN"
        assert api.post("/api/v1/experiments/999/ask").status_code == 404

    def test_a_finished_trial_stays_as_it_is(self, asker: Asker) -> None:
        (trial,) = asker.ask()
        asker.tell(trial, 1.0)
        again = asker.tell(trial, 2.0)
        assert (again.status_code, again.json()["code"]) == (409, "TRIAL_FINISHED")
        assert asker.trial(trial["number"])["outcome"] == 1.0

    def test_an_archived_experiment_hands_out_nothing(self, asker: Asker) -> None:
        asker.api.patch(f"/api/v1/experiments/{asker.id}", json={"archived": True})
        assert asker.post("ask").json()["code"] == "EXPERIMENT_ARCHIVED"

    def test_a_study_whose_trials_ask_for_their_parameters_is_optunas(self, api: TestClient) -> None:
        study = {"name": "define by run", "objectives": [{"metric": "value"}]}
        made = api.post("/api/v1/studies", json=study).json()
        assert api.post(f"/api/v1/experiments/{made['id']}/ask").json()["code"] == "ASKS_WHILE_RUNNING"

    def test_no_job_can_run_what_has_no_tool(self, asker: Asker) -> None:
        assert asker.post("trials").json()["code"] == "NO_TOOL"

    def test_a_constraint_needs_its_metric_and_decides_about_the_best(self, api: TestClient) -> None:
        asker = Asker(api, constraints=[{"metric": "size", "max": 10}])
        (one, two) = asker.ask(count=2)
        assert "constraint 'size'" in asker.tell(one, 1.0).json()["error"]
        assert asker.tell(one, 1.0, metrics={"size": 11}).json()["feasible"] is False
        assert asker.tell(two, 2.0, metrics={"size": 10}).json()["feasible"] is True
        assert asker.api.get(f"/api/v1/experiments/{asker.id}/best").json()["number"] == two["number"]

    def test_a_trial_of_a_job_is_its_runners(self, api: TestClient, store: Store) -> None:
        experiment = new_experiment(store)
        job = running_job(store, experiment)
        with store.write() as tx:
            begun = finished_trial(job, 0).evolve(state=TrialState.RUNNING, values=None, ended_at=None)
            tx.record(job.id, str(job.lease_token), experiment, [begun])
        refused = api.post(f"/api/v1/experiments/{experiment.id}/trials/0/tell", json={"token": "x", "value": 1.0})
        assert refused.json()["code"] == "TRIAL_TAKEN"


def _foreign(experiment_id: int, params: dict[str, Any]) -> Trial:
    return Trial(
        experiment_id=experiment_id,
        number=0,
        job_id=None,
        run_number=None,
        state=TrialState.COMPLETE,
        params=params,
        values=(1.0,),
    )


class TestChanges:
    """What a later ask, or a change of the space, means for the points that follow."""

    def test_points_to_try_of_a_later_ask_come_first_too(self, asker: Asker) -> None:
        asker.ask(count=5, optimizer={"type": "random"})
        first = [{"x": 0.05}, {"x": 0.06}]
        later = asker.ask(count=3, optimizer={"type": "tpe", "enqueue": first, "n_iter": 4})
        assert [trial["params"] for trial in later[:2]] == first
        assert len(asker.ask(count=5)) == 1
        again = asker.post("ask", {"optimizer": {"type": "tpe", "enqueue": first, "n_iter": 4}})
        assert again.json()["trials"] == []  # the same wish is the same search

    def test_a_grid_that_is_asked_for_later_leaves_no_point_out(self, api: TestClient) -> None:
        asker = Asker(api, parameters=[{"name": "x", "type": "int", "minimum": 1, "maximum": 5}])
        seen = [trial["params"]["x"] for trial in asker.ask(count=2, optimizer={"type": "random", "seed": 1})]
        seen += [t["params"]["x"] for t in asker.ask(count=9, optimizer={"type": "grid", "num_configs_per_param": 5})]
        assert sorted(seen) == [1, 2, 3, 4, 5]

    def test_points_to_try_outside_a_narrowed_space_are_left_out(self, asker: Asker) -> None:
        asker.ask(optimizer={"type": "tpe", "enqueue": [{"x": 0.1}, {"x": 0.9}, {"x": 0.2}]})
        narrow = {"parameters": [X | {"maximum": 0.3}]}
        asker.api.patch(f"/api/v1/experiments/{asker.id}", json=narrow)
        found = [trial["params"]["x"] for trial in asker.ask(count=4)]
        assert found[0] == 0.2
        assert max(found) <= 0.3

    def test_trials_that_are_given_back_do_not_fail_however_often(self, asker: Asker) -> None:
        for _ in range(MAX_ATTEMPTS + 2):
            (trial,) = asker.ask(lease_s=60)
            asker.post(f"trials/{trial['number']}/fail", {"token": trial["token"], "again": True})
        assert asker.trial(0)["state"] == "waiting"

    def test_a_worker_that_dies_of_a_trial_again_and_again_loses_it(self, asker: Asker) -> None:
        attempts = [asker.ask(worker="w")[0] for _ in range(MAX_ATTEMPTS + 1)]
        assert [trial["number"] for trial in attempts] == [0] * MAX_ATTEMPTS + [1]
        assert asker.trial(0)["state"] == "failed"

    def test_a_trial_that_is_begun_anew_has_no_reports(self, asker: Asker) -> None:
        (trial,) = asker.ask(worker="w")
        asker.post(f"trials/{trial['number']}/report", {"token": trial["token"], "step": 1, "value": 1.0})
        asker.ask(worker="w")
        assert asker.trial(trial["number"])["measurements"] == []

    def test_a_heartbeat_that_names_no_length_shortens_no_lease(self, asker: Asker) -> None:
        (trial,) = asker.ask(lease_s=3600)
        beat = asker.post(f"trials/{trial['number']}/heartbeat", {"token": trial["token"]}).json()
        assert beat["lease_expires_at"] == trial["lease_expires_at"]
