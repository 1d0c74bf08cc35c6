"""Our storage behind Optuna's gRPC protocol: Optuna's own tests, the token, TLS, and what clients read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import optuna
import pytest
from cryptography.hazmat.primitives import serialization
from optuna.distributions import FloatDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.storages._grpc.auto_generated import api_pb2
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState
from optuna_wire import proxy, serving

from tunesmith.domain import Role, Trial
from tunesmith.errors import ConnectionFailed, Forbidden, InvalidSettings, Unauthenticated, WorkspaceNotFound
from tunesmith.optuna import connect
from tunesmith.optuna.channel import RemoteStorage
from tunesmith.optuna.server import OptunaServer
from tunesmith.services import tokens
from tunesmith.services.refusals import REFUSALS
from tunesmith.store import Store
from tunesmith.store.audit import AuditFilter

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:The default value of `deepcopy`"),
]
KEY = "a key of the platform"


@pytest.fixture
def trusting(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OptunaServer]:
    """A server on SQLite without a token."""
    monkeypatch.delenv("TUNESMITH_API_KEY", raising=False)
    with serving(sqlite_url) as server:
        yield server


class OverTheWire(StorageTestCase):
    @pytest.mark.parametrize("param_names", [["a", "b"], ["b", "a"]])
    def test_get_all_trials_params_order(self, storage: BaseStorage, param_names: list[str]) -> None:
        """Optuna's messages have no order of parameters, so that its own proxy cannot pass the test as it stands."""
        study_id = storage.create_new_study([StudyDirection.MINIMIZE])
        trial_id = storage.create_new_trial(study_id)
        for name in param_names:
            storage.set_trial_param(trial_id, name, 1.0, FloatDistribution(0.0, 2.0))
        assert sorted(storage.get_all_trials(study_id)[0].params) == ["a", "b"]


class TestUnmodifiedClient(OverTheWire):
    @pytest.fixture(params=["sqlite", "postgres"])
    def storage(self, request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
        with serving(request.getfixturevalue(f"{request.param}_url")) as server, proxy(server) as storage:
            yield storage


class TestConnectedClient(OverTheWire):
    @pytest.fixture
    def storage(self, sqlite_url: str, certificate: tuple[Path, Path]) -> Iterator[BaseStorage]:
        with serving(sqlite_url, token=KEY, tls=certificate) as server:
            storage = connect(f"localhost:{server.port}", token=KEY, ca=certificate[0])
            yield storage
            storage.close()


class TestTheToken:
    def test_without_it_nothing_is_answered_and_the_error_says_what_to_do(self, sqlite_url: str) -> None:
        with (
            serving(sqlite_url, token=KEY) as server,
            proxy(server) as storage,
            pytest.raises(grpc.RpcError) as raised,
        ):
            storage.get_all_studies()
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "tunesmith.optuna.connect('host:port', token=<key>)" in str(raised.value.details())

    @pytest.mark.parametrize("token", [None, "another key of somebody", KEY[:-1], "k\u00e9"])
    def test_a_wrong_one_is_refused_when_connecting(
        self, sqlite_url: str, token: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TUNESMITH_API_KEY", raising=False)
        with serving(sqlite_url, token=KEY) as server, pytest.raises((Unauthenticated, InvalidSettings)):
            connect(f"localhost:{server.port}", token=token)

    def test_it_comes_from_the_environment_and_does_not_travel_with_the_storage(
        self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNESMITH_API_KEY", KEY)
        with serving(sqlite_url, token=KEY) as server:
            storage = connect(f"localhost:{server.port}")
            pickled = pickle.dumps(storage)
            assert KEY.encode() not in pickled
            again = pickle.loads(pickled)
            study = optuna.create_study(storage=again, study_name="s")
            assert storage.get_study_id_from_name("s") == study._study_id
            storage.close()
            again.close()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
    def test_without_it_nobody_but_this_machine_is_served(self, sqlite_url: str, host: str) -> None:
        with pytest.raises(InvalidSettings, match="TUNESMITH_API_KEY"):
            OptunaServer(sqlite_url, host, 0)

    def test_with_it_any_machine_is_served(self, sqlite_url: str) -> None:
        with serving(sqlite_url, host="0.0.0.0", token=KEY) as server:
            connect(f"127.0.0.1:{server.port}", token=KEY).close()


class TestUsers:
    """Who comes with a token of their own, on a server that needs one."""

    @pytest.fixture
    def server(self, sqlite_url: str) -> Iterator[OptunaServer]:
        with serving(sqlite_url, token=KEY) as server:
            yield server

    def test_studies_and_trials_are_found_in_their_workspace_alone(
        self, server: OptunaServer, sqlite_store: Store
    ) -> None:
        ada, ben = (connected(server, token_of(sqlite_store, workspace)) for workspace in ("hers", "his"))
        study = optuna.create_study(storage=ada, study_name="s")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        trial = study.ask()
        assert [found.study_name for found in ada.get_all_studies()] == ["s"]
        assert ben.get_all_studies() == []
        with pytest.raises(KeyError):
            ben.get_study_id_from_name("s")
        with pytest.raises(DuplicatedStudyError):  # names are unique in all workspaces together
            ben.create_new_study([StudyDirection.MINIMIZE], "s")
        for call in (
            lambda: ben.get_study_directions(study._study_id),
            lambda: ben.get_all_trials(study._study_id),
            lambda: ben.create_new_trial(study._study_id),
            lambda: ben.delete_study(study._study_id),
            lambda: ben.get_trial(trial._trial_id),
            lambda: ben.set_trial_user_attr(trial._trial_id, "a", 1),
            lambda: ben.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [1.0]),
        ):
            with pytest.raises(KeyError):
                call()
        study.tell(trial, 1.0)
        assert [found.state for found in study.trials] == [TrialState.COMPLETE] * 3
        for storage in (ada, ben):
            storage.close()

    def test_the_role_says_what_they_may_do(self, server: OptunaServer, sqlite_store: Store) -> None:
        viewer, runner, editor = (
            connected(server, token_of(sqlite_store, "ours", role)) for role in ("viewer", "runner", "editor")
        )
        study_id = editor.create_new_study([StudyDirection.MINIMIZE], "s")
        optuna.load_study(storage=runner, study_name="s").optimize(lambda trial: 1.0, n_trials=1)
        assert len(viewer.get_all_trials(study_id)) == 1
        for storage, call in (
            (viewer, lambda: viewer.create_new_trial(study_id)),
            (viewer, lambda: viewer.set_study_user_attr(study_id, "a", 1)),
            (runner, lambda: runner.create_new_study([StudyDirection.MINIMIZE], "t")),
            (runner, lambda: runner.delete_study(study_id)),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call()
            assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED, storage
        editor.delete_study(study_id)
        for storage in (viewer, runner, editor):
            storage.close()

    def test_what_changes_a_study_and_every_refusal_stand_in_the_audit_log(
        self, sqlite_url: str, sqlite_store: Store
    ) -> None:
        editor, viewer = token_of(sqlite_store, "ours", "editor"), token_of(sqlite_store, "ours", "viewer")
        stranger = token_of(sqlite_store, "theirs")
        with serving(sqlite_url, token=KEY) as server:
            ours, seen, theirs = (connected(server, token) for token in (editor, viewer, stranger))
            study_id = ours.create_new_study([StudyDirection.MINIMIZE], "s")
            ours.set_study_user_attr(study_id, "a", "s3cret")
            trial_id = ours.create_new_trial(study_id)
            ours.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
            with pytest.raises(grpc.RpcError):
                seen.create_new_trial(study_id)
            with pytest.raises(KeyError):
                theirs.get_trial(trial_id)
            ours.delete_study(study_id)
            with proxy(server) as nobody:
                for _ in range(REFUSALS + 5):
                    with pytest.raises(grpc.RpcError):
                        nobody.get_all_studies()
            for storage in (ours, seen, theirs):
                storage.close()
        with sqlite_store.read() as tx:
            page = tx.audit(AuditFilter(), limit=200, oldest_first=True)
        known, unknown = page.items[:5], page.items[5:]
        study = f"study/{study_id}"
        assert [(one.principal, one.workspace, one.action, one.target, one.status) for one in known] == [
            ("editor-of-ours", "ours", "gRPC CreateNewStudy", None, 200),
            ("editor-of-ours", "ours", "gRPC SetStudyUserAttribute", study, 200),
            ("viewer-of-ours", "ours", "gRPC CreateNewTrial", study, 403),
            ("admin-of-theirs", "theirs", "gRPC GetTrial", f"trial/{trial_id}", 404),
            ("editor-of-ours", "ours", "gRPC DeleteStudy", study, 200),
        ]
        assert (known[0].details, known[2].details) == ({"id": study_id}, {"code": "FORBIDDEN"})
        assert "s3cret" not in str(page.items)
        assert {(one.principal, one.status) for one in unknown} == {("anonymous", 401)}
        assert len(unknown) == REFUSALS
        assert {one.address for one in page.items} <= {"127.0.0.1", "::1"}

    def test_who_is_limited_to_some_model_runs_sees_no_studies(self, server: OptunaServer, sqlite_store: Store) -> None:
        with sqlite_store.write() as tx:
            workspace = tx.create_workspace("ours")
            user = tx.create_user(workspace.id, "of-the-north", attributes={"region": ("NA",)})
            tx.grant(workspace.id, f"user:{user.id}", "admin")
            token, _ = tokens.issue(tx, user, "test")
        with pytest.raises(Forbidden, match="limited to model runs by region"):
            connected(server, token)

    def test_a_workspace_is_theirs_or_not_there(self, server: OptunaServer, sqlite_store: Store) -> None:
        token = token_of(sqlite_store, "hers")
        connected(server, token, workspace="hers").close()
        for workspace in ("main", "nowhere"):
            with pytest.raises(WorkspaceNotFound):
                connected(server, token, workspace=workspace)
        with pytest.raises(Unauthenticated):
            connected(server, "ts_" + 43 * "x")


def connected(server: OptunaServer, token: str, **options: Any) -> RemoteStorage:
    return connect(f"localhost:{server.port}", token=token, **options)


def token_of(store: Store, workspace: str, role: Role = "admin") -> str:
    """A token of somebody who has this role in a workspace, and none elsewhere."""
    with store.write() as tx:
        known = {found.name: found for found in tx.workspaces()}
        here = known.get(workspace) or tx.create_workspace(workspace)
        user = tx.create_user(here.id, f"{role}-of-{workspace}")
        tx.grant(here.id, f"user:{user.id}", role)
        return tokens.issue(tx, user, "test")[0]


class TestTls:
    def test_a_client_that_does_not_know_the_certificate_does_not_talk_to_the_server(
        self, sqlite_url: str, certificate: tuple[Path, Path]
    ) -> None:
        with serving(sqlite_url, tls=certificate) as server:
            for tls in (None, True):
                with pytest.raises(ConnectionFailed, match="ca"):
                    connect(f"localhost:{server.port}", wait_s=1, tls=tls)

    def test_files_that_are_no_certificate_and_its_key_are_refused_by_name(
        self, sqlite_url: str, certificate: tuple[Path, Path], tmp_path: Path
    ) -> None:
        cert, key = certificate
        locked = tmp_path / "locked.pem"
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        locked.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"word"),
            )
        )
        for pair in ((cert, cert), (key, cert), (cert, tmp_path / "none.pem"), (tmp_path, key), (cert, locked)):
            with pytest.raises(InvalidSettings, match=f"--tls-cert {pair[0]} --tls-key {pair[1]}"):
                OptunaServer(sqlite_url, port=0, tls=pair)


class TestConnecting:
    @pytest.mark.parametrize("address", ["", "localhost", ":13000", "localhost:", "localhost:0", "localhost:http"])
    def test_an_address_is_a_host_and_a_port(self, address: str) -> None:
        with pytest.raises(InvalidSettings, match="localhost:13000"):
            connect(address)

    def test_nobody_there_is_an_error_that_says_so(self, trusting: OptunaServer) -> None:
        with pytest.raises(ConnectionFailed, match="tunesmith optuna-server"):
            connect("localhost:9", wait_s=0.5)

    def test_a_file_that_is_not_there_is_named(self) -> None:
        with pytest.raises(InvalidSettings, match=r"ca='missing\.pem'"):
            connect("localhost:13000", ca="missing.pem")

    def test_a_port_that_somebody_has_is_refused(self, trusting: OptunaServer, sqlite_url: str) -> None:
        with pytest.raises(InvalidSettings, match="another --port"):
            OptunaServer(sqlite_url, port=trusting.port)

    def test_a_server_of_optuna_itself_is_as_good(self, tmp_path: Path) -> None:
        from optuna.storages._grpc.server import make_server

        server = make_server(optuna.storages.InMemoryStorage(), "localhost", 0)
        port = server.add_insecure_port("localhost:0")
        server.start()
        try:
            storage = connect(f"localhost:{port}")
            study = optuna.create_study(storage=storage)
            study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
            assert len(study.trials) == 3
            storage.close()
        finally:
            server.stop(0).wait()


class TestReading:
    def test_trials_that_came_later_than_their_numbers_are_seen_too(
        self, trusting: OptunaServer, sqlite_store: Store
    ) -> None:
        def write(number: int) -> None:
            row = {"experiment_id": study._study_id, "number": number, "job_id": None, "run_number": None, "params": {}}
            trial = Trial.model_validate({**row, "state": "complete", "values": (1.0,)})
            with sqlite_store.write() as tx:
                tx.write_trials(tx.experiment(study._study_id), [trial])

        with proxy(trusting) as storage:
            study = optuna.create_study(storage=storage)
            with sqlite_store.write() as tx:
                assert tx.reserve_numbers(study._study_id, 2) == 0
            study.tell(study.ask(), 1.0)
            seen = [[trial.number for trial in study.trials]]
            for number in (1, 0):
                write(number)
                seen.append([trial.number for trial in study.trials])
            study.tell(study.ask(), 1.0)
            seen.append([trial.number for trial in study.trials])
        assert seen == [[2], [1, 2], [0, 1, 2], [0, 1, 2, 3]]

    def test_a_client_gets_what_is_new_and_what_it_saw_unfinished_and_nothing_else(
        self, trusting: OptunaServer
    ) -> None:
        with proxy(trusting) as storage:
            study = optuna.create_study(storage=storage)
            asked = [study.ask() for _ in range(4)]
            study.tell(asked[2], 1.0)
            request = api_pb2.GetTrialsRequest(
                study_id=study._study_id,
                included_trial_ids=[asked[0]._trial_id],
                trial_id_greater_than=asked[2]._trial_id,
            )
            assert [trial.number for trial in storage._stub.GetTrials(request).trials] == [0, 3]
