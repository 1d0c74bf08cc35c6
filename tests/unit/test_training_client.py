"""`client.training_jobs` against the service on a real database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in import Reply, refusal, serving
from training_platform import Platform, platform

from tunesmith import (
    BadRequest,
    Client,
    DependedOn,
    InvalidBody,
    InvalidSchedule,
    NameTaken,
    StateForbids,
    TrainingNotFound,
    TunesmithError,
    Unavailable,
)
from tunesmith.client import TrainingHandle
from tunesmith.domain import JobState
from tunesmith.store import Store

COMMAND = ["python", "train.py"]


@pytest.fixture
def here(tmp_path: Path, sqlite_store: Store) -> Iterator[Platform]:
    with platform(tmp_path, sqlite_store) as found:
        yield found


@pytest.fixture
def client(here: Platform) -> Client:
    return here.client


class TestMaking:
    def test_a_job_is_made_with_its_fields(self, client: Client) -> None:
        job = client.training_jobs.create("nightly", COMMAND, schedule="0 2 * * *", env={"A": "1"}, tags=["x"])
        assert (job.name, job.status, job.retry_count, job.error_message) == ("nightly", "pending", 0, None)
        assert (job.info.command, job.info.env, job.info.tags) == (("python", "train.py"), {"A": "1"}, ("x",))
        assert job.next_run_at is not None
        assert job.id.startswith("train-")
        assert repr(job) == f"TrainingHandle({job.id!r}, 'nightly')"

    def test_what_is_wrong_is_raised_as_the_server_raised_it(self, client: Client) -> None:
        jobs = client.training_jobs
        jobs.create("nightly", COMMAND)
        with pytest.raises(NameTaken):
            jobs.create("nightly", COMMAND)
        with pytest.raises(InvalidSchedule, match="hour") as caught:
            jobs.create("x", COMMAND, schedule="0 25 * * *")
        assert caught.value.details["field"] == "hour"
        with pytest.raises(InvalidBody, match="max_retrys"):
            jobs.create("x", COMMAND, max_retrys=1)
        assert [job.name for job in jobs.list()] == ["nightly"]

    def test_a_lost_answer_makes_no_second_one(self) -> None:
        with serving() as server:
            server.on(
                "POST /jobs", [Reply(cut=True), refusal(Unavailable(), {"Retry-After": "0"}), refusal(NameTaken())]
            )
            with Client(server.url) as client, pytest.raises(NameTaken):
                client.training_jobs.create("nightly", COMMAND)
            keys = {request.headers["idempotency-key"] for request in server.asked("POST /jobs")}
            assert (len(server.asked("POST /jobs")), len(keys)) == (3, 1)

    def test_validate_says_when_it_would_fire_and_makes_nothing(self, client: Client) -> None:
        answer = client.training_jobs.validate("x", COMMAND, schedule="@daily")
        assert answer.schedule == "at 00:00 every day (UTC)"
        assert len(answer.next_runs) == 5
        with pytest.raises(InvalidSchedule):
            client.training_jobs.validate("x", COMMAND, schedule="nonsense")
        assert not list(client.training_jobs.list())


class TestFinding:
    def test_by_id_and_by_name(self, client: Client) -> None:
        jobs = client.training_jobs
        job = jobs.create("a/b c", COMMAND)
        jobs.create("a/b c d", COMMAND)
        looks_like_an_id = jobs.create("train-00000000", COMMAND)
        assert jobs.get(job.id).name == "a/b c"
        assert jobs.get("a/b c").id == job.id
        assert jobs.get("train-00000000").id == looks_like_an_id.id

    def test_none_says_which_names_are_near(self, client: Client) -> None:
        client.training_jobs.create("nightly", COMMAND)
        with pytest.raises(TrainingNotFound, match="is it 'nightly'"):
            client.training_jobs.get("nightyl")
        with pytest.raises(TrainingNotFound, match="jobs list"):
            client.training_jobs.get("train-ffffffff")

    def test_all_pages_are_read(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tunesmith.client.training_jobs.PAGE", 2)
        jobs = client.training_jobs
        for number in range(5):
            jobs.create(f"job {number}", COMMAND, tags=["odd"] if number % 2 else [])
        assert [job.name for job in jobs.list(sort="name")] == [f"job {number}" for number in range(5)]
        assert [job.name for job in jobs.list()] == [f"job {number}" for number in range(4, -1, -1)]
        assert [job.name for job in jobs.list(limit=3, sort="name")] == ["job 0", "job 1", "job 2"]
        assert [job.name for job in jobs.list(q="B 3")] == ["job 3"]
        assert not list(jobs.list(status="failed"))
        page = jobs.page(2, 2, sort="name")
        assert ([job.name for job in page.jobs], page.total) == (["job 2", "job 3"], 5)

    def test_a_job_that_is_made_meanwhile_lets_none_come_twice(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tunesmith.client.training_jobs.PAGE", 2)
        jobs = client.training_jobs
        for number in range(4):
            jobs.create(f"job {number}", COMMAND)
        listed = jobs.list()
        names = [next(listed).name, next(listed).name]
        jobs.create("new", COMMAND)
        assert names + [job.name for job in listed] == ["job 3", "job 2", "job 1", "job 0"]

    def test_an_unknown_status_is_refused(self, client: Client) -> None:
        with pytest.raises(BadRequest):
            list(client.training_jobs.list(status="odd"))

    def test_they_are_counted(self, client: Client) -> None:
        client.training_jobs.create("a", COMMAND)
        client.training_jobs.create("b", COMMAND, schedule="@daily").pause()
        stats = client.training_jobs.stats()
        assert (stats.total_jobs, stats.pending, stats.paused) == (2, 1, 1)


class TestChanging:
    def test_fields_change_others_stay_and_none_is_null(self, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND, schedule="@daily", image="x:1", max_retries=1)
        job.update(schedule=None, max_retries=7, name="b")
        assert (job.info.schedule, job.info.max_retries, job.info.image, job.name) == (None, 7, "x:1", "b")
        assert client.training_jobs.get("b").info == job.info

    def test_a_running_one_is_neither_changed_nor_deleted(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND)
        here.claim()
        for act in (lambda: job.update(max_retries=1), job.delete):
            with pytest.raises(StateForbids):
                act()

    def test_it_is_deleted(self, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND)
        other = client.training_jobs.create("b", COMMAND, depends_on=["a"])
        with pytest.raises(DependedOn):
            job.delete()
        other.delete()
        job.delete()
        with pytest.raises(TrainingNotFound):
            job.refresh()

    def test_it_is_steered(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND, schedule="@yearly")
        assert job.pause().status == "paused"
        assert job.resume().status == "pending"
        assert job.run().status == "pending"
        with pytest.raises(StateForbids):
            job.run()
        assert job.cancel().status == "cancelled"
        assert job.retry().status == "pending"
        here.run()
        assert job.refresh().status == "completed"


class TestOutcome:
    def test_executions_are_listed_newest_first(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND, max_retries=0)
        here.run(JobState.FAILED, "exit code 3")
        job.run()
        here.run()
        newest, oldest = job.executions()
        assert (newest.number, newest.attempt, newest.status) == (2, 1, "completed")
        assert (oldest.number, oldest.status, oldest.error) == (1, "failed", "exit code 3")
        assert [one.number for one in job.executions(number=1)] == [1]
        assert [one.number for one in job.executions(limit=1)] == [2]

    def test_logs_are_lines(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND)
        assert list(job.logs()) == []
        here.write_log("a", 0, "one\ntwo\n")
        here.run()
        assert list(job.logs()) == ["one", "two"]
        assert list(job.logs(trial=0, follow=True)) == ["one", "two"]
        assert list(job.logs(execution=1))[1:] == ["one", "two"]
        with pytest.raises(TunesmithError, match="no execution 9"):
            list(job.logs(execution=9))

    def test_wait_ends_with_the_execution_and_tells_of_each_standing(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND)
        claimed, told = threading.Event(), []

        def note(info: object) -> None:
            told.append(job.status)
            claimed.set()

        def work() -> None:
            claimed.wait(10)
            here.run()

        worker = threading.Thread(target=work)
        worker.start()
        assert job.wait(20, on_progress=note).status == "completed"
        worker.join()
        assert (told[0], told[-1]) == ("pending", "completed")
        assert job.ended

    def test_wait_raises_when_it_failed_if_it_is_to(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND, max_retries=0)
        here.run(JobState.FAILED, "exit code 3\nthe end of its output")
        assert job.wait().status == "failed"
        with pytest.raises(TunesmithError, match=r"^a failed: exit code 3$"):
            job.wait(raise_on_failure=True)

    def test_wait_gives_up_in_time(self, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND, schedule="@yearly")
        with pytest.raises(TimeoutError, match=r"a is still pending after 0\.1 s"):
            job.wait(0.1)

    def test_a_paused_job_that_was_run_is_waited_for(self, here: Platform, client: Client) -> None:
        job = client.training_jobs.create("a", COMMAND, schedule="@yearly", max_retries=0)
        job.pause()
        assert not job.ended
        assert job.run().status == "paused"
        with pytest.raises(TimeoutError):
            job.wait(0.1)
        here.run(JobState.FAILED, "exit code 3")
        assert job.wait().status == "paused"
        with pytest.raises(TunesmithError, match="a failed: exit code 3"):
            job.wait(raise_on_failure=True)

    def test_a_server_that_is_away_for_a_moment_is_waited_for(self) -> None:
        with serving() as server, Client(server.url, retries=0) as client:
            away = refusal(Unavailable(), {"Retry-After": "0"})
            server.on("GET /jobs/train-0", [away, away, refusal(TrainingNotFound("it was deleted"))])
            with pytest.raises(TrainingNotFound, match="it was deleted"):
                TrainingHandle(client._connection, "train-0").wait()
            assert len(server.received) == 3
