"""Datasets on S3: as exact as on a directory, there as a whole or not at all."""

from __future__ import annotations

import io
import json
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from pyarrow import parquet as pq
from s3 import bucket

from tests.data_documents import canonical, dataset_of, documents, through
from tunesmith.data import DataSource, arrow_stream, open_dataset, open_files, parquet, write_tables
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage

TEXTS = pa.schema([("a", pa.string())])


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    with bucket("data/prefix") as url:
        yield Storage(url)


@pytest.fixture
def client(storage: Storage) -> Any:
    """A client of the service that the storage is on."""
    address = re.search(r"endpoint_override=(.*)", storage.root)
    assert address
    return boto3.client("s3", endpoint_url=f"http://{address[1]}")


def keys(client: Any) -> set[str]:
    return {each["Key"] for each in client.list_objects_v2(Bucket="data").get("Contents", [])}


@settings(max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(documents())
def test_any_dataset_comes_out_as_it_went_in(storage: Storage, given: dict[str, Any]) -> None:
    text = json.dumps(given)
    assert canonical(through(text, storage)) == canonical(text)


def test_a_dataset_is_opened_and_downloaded(storage: Storage, client: Any) -> None:
    dataset = dataset_of(DataSource("d", {"t": pd.DataFrame({"a": range(200_000)})}), storage)
    assert len(keys(client) & {f"prefix/{dataset.files}/{name}" for name in ("0.parquet", "dataset.json")}) == 2
    for source in (open_dataset(storage, dataset), open_files(storage, dataset.files)):
        assert source["t"]["a"].sum() == sum(range(200_000))
    assert pq.read_table(io.BytesIO(b"".join(parquet(storage, dataset)))).num_rows == 200_000
    assert pa.ipc.open_stream(b"".join(arrow_stream(storage, dataset))).read_all().num_rows == 200_000


def test_where_a_stream_breaks_off_nothing_is_there(storage: Storage, client: Any) -> None:
    before = keys(client)

    def broken() -> Iterator[pa.RecordBatch]:
        for _ in range(20):
            yield pa.record_batch([pa.array([secrets.token_hex(500) for _ in range(1000)])], schema=TEXTS)
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        write_tables(storage, "datasets/broken", [("t", TEXTS, broken())])
    assert keys(client) == before
    assert client.list_multipart_uploads(Bucket="data").get("Uploads", []) == []


KILLED = """
import secrets, sys
import pyarrow as pa
from tunesmith.data import write_tables
from tunesmith.storage import Storage

schema = pa.schema([("a", pa.string())])
def batches():
    while True:
        print("writing", flush=True)
        yield pa.record_batch([pa.array([secrets.token_hex(500) for _ in range(10_000)])], schema=schema)
write_tables(Storage(sys.argv[1]), "datasets/killed", [("t", schema, batches())])
"""


def test_a_killed_writer_leaves_nothing_under_the_key(storage: Storage, client: Any) -> None:
    before = keys(client)
    child = subprocess.Popen([sys.executable, "-c", KILLED, storage.root], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        for _ in range(10):
            assert child.stdout.readline() == b"writing\n"
        child.kill()
        assert child.wait() == -signal.SIGKILL
    assert keys(client) == before


def test_a_bucket_that_is_not_there_is_an_unavailable_storage(storage: Storage) -> None:
    gone = Storage(storage.root.replace("s3://data/", "s3://gone/"))
    with pytest.raises(StorageUnavailable, match="gone"):
        dataset_of(DataSource("d", {"t": pd.DataFrame({"a": [1]})}), gone)
