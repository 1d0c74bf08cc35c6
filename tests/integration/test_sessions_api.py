"""Sessions as a client sees them: listed, made, copied, renamed, deleted; their algorithms and KPIs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sessions_service import MAIN, SESSIONS, begun, dataset, finished, made, refused, stored, working

from tunesmith.settings import Settings
from tunesmith.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest) -> Store:
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.fixture
def api(settings: Settings, db: Store) -> Iterator[TestClient]:
    with working(settings, db) as app, TestClient(app) as client:
        yield client


def names(answer: Any) -> list[str]:
    return [session["display_name"] for session in answer.json()["sessions"]]


def main_id(api: TestClient) -> str:
    return str(api.get(SESSIONS).json()["default"])


class TestListing:
    def test_there_is_always_one(self, api: TestClient) -> None:
        body = api.get(SESSIONS).json()
        (session,) = body["sessions"]
        assert session == {"id": str(uuid.UUID(session["id"])), "display_name": "main"}
        assert body == {"sessions": [session], "default": session["id"]}
        assert api.get(SESSIONS).json() == api.get(f"{SESSIONS}/").json() == body

    def test_a_session_is_found_by_its_id_and_by_its_name(self, api: TestClient) -> None:
        by_id, by_name = (api.get(f"{SESSIONS}/{sid}").json() for sid in (main_id(api), "main"))
        assert by_id == by_name
        assert by_id.keys() == {"id", "display_name", "max_parallel", "created_at"}
        assert by_id["max_parallel"] == 1

    def test_an_unknown_session_is_not_found(self, api: TestClient) -> None:
        for sid in ("other", str(uuid.uuid4()), "%00", "Main", "%F0%9F%98%80", "a" * 200):
            for path in (
                "",
                "/algorithms",
                "/algorithms/Plan/parameters",
                "/kpis",
                "/scenarios",
                "/processing",
                "/data",
            ):
                refused(api.get(f"{SESSIONS}/{sid}{path}"), 404, "SESSION_NOT_FOUND")

    def test_query_parameters_that_are_unknown_are_refused(self, api: TestClient) -> None:
        assert "takes none" in refused(api.get(f"{SESSIONS}?page=1"), 400)["error"]


class TestMaking:
    def test_the_answer_is_the_list(self, api: TestClient) -> None:
        answer = api.post(SESSIONS, json={"display_name": "what if"})
        assert answer.status_code == 201
        assert names(answer) == ["main", "what if"]
        assert answer.json() == api.get(SESSIONS).json()

    @pytest.mark.parametrize("name", ["main", " ", "\t"])
    def test_a_taken_or_blank_name_is_a_conflict(self, api: TestClient, name: str) -> None:
        refused(api.post(SESSIONS, json={"display_name": name}), 409, "NAME_TAKEN")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "display_name"),
            ({"display_name": ""}, "display_name"),
            ({"display_name": 1}, "display_name"),
            ({"display_name": "a" * 201}, "display_name"),
            ({"display_nam": "a"}, "display_name"),
            ({"display_name": "a", "max_parallel": 0}, "max_parallel"),
            ({"display_name": "a", "max_parallell": 2}, "max_parallell"),
            ([], ""),
        ],
    )
    def test_a_malformed_body_is_unprocessable(self, api: TestClient, body: Any, field: str) -> None:
        answer = refused(api.post(SESSIONS, json=body), 422, "INVALID_BODY")
        assert field in [found["field"] for found in answer["details"]["fields"]]

    def test_an_unknown_field_names_the_nearest(self, api: TestClient) -> None:
        answer = refused(api.post(SESSIONS, json={"display_name": "a", "max_paralel": 2}), 422)
        assert "did you mean 'max_parallel'?" in answer["error"]

    @pytest.mark.parametrize("raw", [b"", b"{", b'{"display_name": "a\\u0000"}', b'{"display_name": NaN}'])
    def test_what_is_no_json_is_unprocessable(self, api: TestClient, raw: bytes) -> None:
        refused(api.post(SESSIONS, content=raw, headers={"Content-Type": "application/json"}), 422, "INVALID_BODY")

    def test_the_same_request_with_its_key_makes_one(self, api: TestClient) -> None:
        headers = {"Idempotency-Key": "k"}
        first, again = (api.post(SESSIONS, json={"display_name": "a"}, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        refused(api.post(SESSIONS, json={"display_name": "b"}, headers=headers), 409, "IDEMPOTENCY_MISMATCH")

    @pytest.mark.parametrize("name", ["Zürich 2026", "50% more", "a?b#c", "日本"])
    def test_any_name_works_in_paths(self, api: TestClient, name: str) -> None:
        api.post(SESSIONS, json={"display_name": name})
        assert api.get(f"{SESSIONS}/{quote(name, safe='')}").json()["display_name"] == name


class TestChanging:
    def test_a_rename_keeps_the_id(self, api: TestClient) -> None:
        session_id = main_id(api)
        answer = api.patch(MAIN, json={"display_name": "production"})
        assert (answer.status_code, answer.json()) == (200, {"id": session_id, "display_name": "production"})
        assert api.get(f"{SESSIONS}/production").status_code == 200
        refused(api.get(MAIN), 404)

    def test_more_scenarios_may_run_at_once(self, api: TestClient) -> None:
        session_id = main_id(api)
        assert api.patch(MAIN, json={"max_parallel": 3}).json() == {"id": session_id, "display_name": "main"}
        assert api.get(MAIN).json()["max_parallel"] == 3

    def test_refusals(self, api: TestClient) -> None:
        api.post(SESSIONS, json={"display_name": "other"})
        refused(api.patch(MAIN, json={"display_name": "other"}), 409, "NAME_TAKEN")
        refused(api.patch(MAIN, json={"display_name": "  "}), 409, "NAME_TAKEN")
        refused(api.patch(MAIN, json={}), 422)
        refused(api.patch(MAIN, json={"display_name": ""}), 422)
        refused(api.patch(f"{SESSIONS}/nobody", json={"display_name": "x"}), 404, "SESSION_NOT_FOUND")
        assert api.patch(MAIN, json={"display_name": "main"}).status_code == 200


class TestCopying:
    def test_datasets_are_copied_and_scenarios_only_if_wanted(self, api: TestClient) -> None:
        stored(api)
        made(api, tag="tried", trucks=3)
        for scenarios, tags in ((False, []), (True, ["tried"])):
            name = f"copy {scenarios}"
            answer = api.post(f"{MAIN}/copy?scenarios={str(scenarios).lower()}", json={"new_display_name": name})
            assert answer.status_code == 201
            assert name in names(answer)
            assert api.get(f"{SESSIONS}/{name}/data").json() == {"keys": ["base"]}
            assert api.get(f"{SESSIONS}/{name}/data/base").json()["tables"] == dataset("base")["tables"]
            assert [found["tag"] for found in api.get(f"{SESSIONS}/{name}/scenarios").json()] == tags

    def test_the_copy_goes_its_own_way(self, api: TestClient) -> None:
        stored(api)
        api.post(f"{MAIN}/copy", json={"new_display_name": "copy"})
        assert api.delete(f"{MAIN}/data/base").status_code == 204
        assert api.get(f"{SESSIONS}/copy/data/base").status_code == 200
        assert finished(api, made(api, session=f"{SESSIONS}/copy"))["status"] == "complete"

    def test_refusals(self, api: TestClient) -> None:
        refused(api.post(f"{MAIN}/copy", json={"new_display_name": "main"}), 409, "NAME_TAKEN")
        refused(api.post(f"{MAIN}/copy", json={"new_display_name": " "}), 409, "NAME_TAKEN")
        refused(api.post(f"{MAIN}/copy", json={"display_name": "x"}), 422)
        refused(api.post(f"{SESSIONS}/nobody/copy", json={"new_display_name": "x"}), 404, "SESSION_NOT_FOUND")


class TestDeleting:
    def test_the_answer_is_the_list(self, api: TestClient) -> None:
        api.post(SESSIONS, json={"display_name": "other"})
        answer = api.delete(f"{SESSIONS}/other")
        assert (answer.status_code, names(answer)) == (200, ["main"])
        refused(api.delete(f"{SESSIONS}/other"), 404, "SESSION_NOT_FOUND")

    def test_after_the_last_one_there_is_a_fresh_one(self, api: TestClient) -> None:
        before = main_id(api)
        stored(api)
        finished(api, made(api))
        answer = api.delete(MAIN)
        assert names(answer) == ["main"]
        assert answer.json()["default"] != before
        assert api.get(f"{MAIN}/data").json() == {"keys": []}
        assert api.get(f"{MAIN}/scenarios").json() == []

    def test_not_while_something_of_it_runs(self, api: TestClient) -> None:
        stored(api)
        path = begun(api, made(api, "Wait", seconds=60))
        refused(api.delete(MAIN), 409)
        assert api.post(f"{path}/cancel").status_code == 200


class TestPlugins:
    def test_algorithms_and_kpis_are_listed(self, api: TestClient) -> None:
        assert api.get(f"{MAIN}/algorithms").json() == {"algorithms": ["Plan", "Wait", "Wrong"]}
        assert api.get(f"{MAIN}/kpis").json() == {"kpis": ["Cost", "Share"]}

    def test_parameters_have_descriptors_of_every_type(self, api: TestClient) -> None:
        body = api.get(f"{MAIN}/algorithms/Plan/parameters").json()
        assert body["name"] == "Plan"
        found = {parameter["name"]: parameter for parameter in body["parameters"]}
        assert {name: parameter["type"] for name, parameter in found.items()} == {
            "trucks": "integer",
            "speed": "float",
            "night": "boolean",
            "note": "string",
            "mode": "enum",
            "zones": "multi_enum",
            "start": "time",
            "window": "interval",
        }
        assert all(found[name].keys() >= {"name", "type", "required", "value", "default"} for name in found)
        assert (found["trucks"]["min"], found["trucks"]["max"], found["trucks"]["default"]) == (1, 9, 2)
        assert found["mode"]["choices"] == ["fast", "cheap"]
        assert found["window"]["default"] == ["2026-03-01T08:00:00Z", "2026-03-01T16:00:00Z"]
        (seconds,) = api.get(f"{MAIN}/algorithms/Wait/parameters").json()["parameters"]
        assert (seconds["required"], seconds["default"], seconds["min"]) == (True, None, 0)

    def test_an_unknown_algorithm_is_not_found(self, api: TestClient) -> None:
        body = refused(api.get(f"{MAIN}/algorithms/Plann/parameters"), 404, "ALGORITHM_NOT_FOUND")
        assert "'Plan'" in body["error"]
