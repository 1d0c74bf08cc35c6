"""Optuna's own tests of storages, all of them, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from tunesmith.optuna import Storage


class TestOnSQLite(StorageTestCase):
    @pytest.fixture
    def storage(self, sqlite_url: str) -> Iterator[Storage]:
        storage = Storage(sqlite_url)
        yield storage
        storage.close()


class TestOnPostgreSQL(StorageTestCase):
    @pytest.fixture
    def storage(self, postgres_url: str) -> Iterator[Storage]:
        storage = Storage(postgres_url)
        yield storage
        storage.close()
