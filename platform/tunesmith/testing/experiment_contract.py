"""The store's contract on experiments: found again by content, searched by name, changed in part; idempotency keys."""

# ruff: noqa: D102 - a test's name says it
from __future__ import annotations

import pytest

from tunesmith.domain import Space, space_of
from tunesmith.errors import ExperimentNotFound, IdempotencyMismatch
from tunesmith.store import Store
from tunesmith.testing.base import Contract
from tunesmith.testing.factories import new_experiment, spec
from tunesmith.testing.races import race


class ExperimentContract(Contract):
    """Experiments and idempotency keys."""

    def test_the_same_content_is_the_same_experiment(self, store: Store) -> None:
        with store.write() as tx:
            workspace = tx.default_workspace()
            first, created = tx.get_or_create_experiment(workspace, spec("Sleep"))
            again, created_again = tx.get_or_create_experiment(workspace, spec("sLEEP"))
        assert (created, created_again) == (True, False)
        assert again == first
        assert first.spec == spec("Sleep")

    def test_other_content_is_another_experiment(self, store: Store) -> None:
        with store.write() as tx:
            workspace = tx.default_workspace()
            made = [
                tx.get_or_create_experiment(workspace, content)
                for content in (spec(), spec("other"), spec(objectives=("-loss",)), spec(trial_timeout_s=1))
            ]
        assert all(created for _, created in made)
        assert len({experiment.id for experiment, _ in made}) == 4

    def test_callers_who_come_at_once_make_one_experiment(self, store: Store) -> None:
        def post() -> tuple[int, bool]:
            with store.write() as tx:
                experiment, created = tx.get_or_create_experiment(tx.default_workspace(), spec())
                return experiment.id, created

        answers = race(*[post] * 4)
        assert all(isinstance(answer, tuple) for answer in answers), answers
        assert len({answer[0] for answer in answers if isinstance(answer, tuple)}) == 1
        assert sum(answer[1] for answer in answers if isinstance(answer, tuple)) == 1

    def test_parameters_keep_their_order_and_their_types(self, store: Store) -> None:
        space = Space.model_validate(
            {
                "parameters": [
                    {"name": "z", "type": "categorical", "choices": ["1", 1, 1.5, True, None, 1e22]},
                    {"name": "b", "type": "int", "minimum": 1, "maximum": 9, "when": {"z": ["1", 1]}},
                    {"name": "a", "minimum": 1e-300, "maximum": 1e300, "log": True},
                ]
            }
        )
        made = new_experiment(store, space=space)
        with store.read() as tx:
            read = tx.experiment(made.id)
        assert read.spec == made.spec
        assert [repr(choice) for choice in read.spec.space.parameters[0].choices or ()] == [
            "'1'", "1", "1.5", "True", "None", "1e+22",
        ]  # fmt: skip
        assert read.spec.content_hash == made.spec.content_hash

    @pytest.mark.parametrize("unknown", [0, -1, 1, 2**31, 2**63, 10**30])
    def test_an_unknown_experiment_is_not_found(self, store: Store, unknown: int) -> None:
        with store.read() as tx, pytest.raises(ExperimentNotFound, match=str(unknown)):
            tx.experiment(unknown)

    @pytest.mark.parametrize("part", ["%", "_", "\\", "100%", "a_b", "c:\\temp", "'", '"', "ZSTD"])
    def test_search_takes_every_character_literally(self, store: Store, part: str) -> None:
        new_experiment(store, tool_name="plain")
        new_experiment(store, tool_name="axb 1000 c:temp")
        wanted = new_experiment(store, tool_name=f"with {part.lower()} inside")
        with store.read() as tx:
            assert [found.id for found in tx.experiments(search=part).items] == [wanted.id]

    def test_search_for_what_no_name_can_hold_finds_nothing(self, store: Store) -> None:
        new_experiment(store)
        with store.read() as tx:
            assert tx.experiments(search="\0").items == tx.experiments(search="\ud800").items == []

    def test_a_change_leaves_the_identity_alone(self, store: Store) -> None:
        made = new_experiment(store)
        wider = space_of([{"name": "x", "minimum": 0, "maximum": 9}])
        with store.write() as tx:
            changed = tx.update_experiment(made.id, name="Ä new name", tags=("a", "b"), archived=True, space=wider)
            found, created = tx.get_or_create_experiment(made.workspace_id, made.spec)
        assert (changed.name, changed.tags, changed.archived) == ("Ä new name", ("a", "b"), True)
        assert changed.spec.space == wider
        assert (found, created) == (changed, False)

    def test_archived_experiments_are_listed_on_request_only(self, store: Store) -> None:
        made = new_experiment(store)
        with store.write() as tx:
            tx.update_experiment(made.id, archived=True)
            assert not tx.experiments().items
            assert [found.id for found in tx.experiments(archived=True).items] == [made.id]

    def test_an_error_in_a_transaction_undoes_all_of_it(self, store: Store) -> None:
        def write_and_fail() -> None:
            with store.write() as tx:
                tx.get_or_create_experiment(tx.default_workspace(), spec())
                raise RuntimeError("after the write")

        with pytest.raises(RuntimeError):
            write_and_fail()
        with store.read() as tx:
            assert not tx.experiments(archived=True).items

    def test_a_repeated_request_gets_the_first_answer(self, store: Store) -> None:
        with store.write() as tx:
            assert tx.first_answer("POST /x", "key", "hash") is None
            assert tx.reserve_key("POST /x", "key", "hash")
            tx.keep_answer("POST /x", "key", 201, {"id": 1})
        with store.read() as tx:
            assert tx.first_answer("POST /x", "key", "hash") == (201, {"id": 1})
            assert tx.first_answer("POST /y", "key", "hash") is None
            with pytest.raises(IdempotencyMismatch):
                tx.first_answer("POST /x", "key", "another hash")

    def test_of_repeated_requests_at_once_one_does_the_work(self, store: Store) -> None:
        def post() -> str:
            with store.write() as tx:
                if tx.reserve_key("POST /x", "key", "hash"):
                    tx.keep_answer("POST /x", "key", 201, {"id": 1})
                    return "worked"
                assert tx.first_answer("POST /x", "key", "hash") == (201, {"id": 1})
                return "repeated"

        assert sorted(map(str, race(*[post] * 3))) == ["repeated", "repeated", "worked"]
