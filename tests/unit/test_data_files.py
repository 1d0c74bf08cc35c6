"""Datasets in a directory: streamed in bounded memory, there as a whole or not at all."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from tests.data_documents import dataset_of
from tunesmith.data import (
    DataSource,
    arrow_stream,
    json_chunks,
    new_files,
    open_dataset,
    open_files,
    parquet,
    read_table,
    write_tables,
)
from tunesmith.errors import BadRequest, DatasetNotFound, InvalidData, StorageUnavailable
from tunesmith.storage import Storage

SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string())])


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def batches(count: int, rows: int = 1000, text: str = "x") -> Iterator[pa.RecordBatch]:
    for number in range(count):
        values = [pa.array(range(number * rows, (number + 1) * rows)), pa.array([text] * rows)]
        yield pa.record_batch(values, schema=SCHEMA)


def test_tables_are_written_from_streams_of_batches(storage: Storage) -> None:
    files = new_files()
    odd = pa.record_batch([pa.array([None, 1]), pa.array(["y", None])], schema=SCHEMA)
    streams = [("first", SCHEMA, batches(150)), ("second", SCHEMA, iter([odd])), ("third", SCHEMA, iter([]))]
    found, size = write_tables(storage, files, iter(streams), {"name": "d", "type": "dummy"})
    assert [(info.name, info.columns, info.rows) for info in found] == [
        ("first", ("a", "b"), 150_000),
        ("second", ("a", "b"), 2),
        ("third", ("a", "b"), 0),
    ]
    assert [info.dtypes["a"] for info in found] == ["int64", "Int64", "int64"]
    assert storage.local is not None
    assert size == sum(path.stat().st_size for path in (storage.local / files).glob("*.parquet"))
    assert read_table(storage, files, 0).column("a").to_pylist() == list(range(150_000))
    source = open_files(storage, files)
    assert (source.name, source.type, source.list_tables()) == ("d", "dummy", ["first", "second", "third"])
    assert source["second"]["a"].tolist() == [pd.NA, 1]


def test_row_groups_are_small_enough_for_memory(storage: Storage) -> None:
    files = new_files()
    write_tables(storage, files, [("t", SCHEMA, batches(3, rows=500, text="y" * 100_000))])
    assert storage.local is not None
    file = pq.ParquetFile(storage.local / files / "0.parquet")
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sum(sizes) == 1500
    assert max(sizes) * 100_000 <= 32 * 2**20


def test_where_a_stream_breaks_off_nothing_stays(storage: Storage) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(100)
        raise ValueError("the file ends in the middle of a line")

    files = new_files()
    with pytest.raises(ValueError, match="in the middle of a line"):
        write_tables(storage, files, [("good", SCHEMA, batches(1)), ("bad", SCHEMA, broken())])
    assert storage.local is not None
    assert [path for path in storage.local.rglob("*") if path.is_file()] == []


def test_columns_have_names_of_their_own(storage: Storage) -> None:
    twice = pa.schema([("a", pa.int64()), ("a", pa.int64())])
    with pytest.raises(InvalidData, match="'a' twice"):
        write_tables(storage, new_files(), [("t", twice, iter([]))])


def test_a_table_is_read_when_it_is_asked_for_and_only_then(storage: Storage) -> None:
    source = DataSource("d", {"t": pd.DataFrame({"a": [1]}), "u": pd.DataFrame({"a": [2]})})
    dataset = dataset_of(source, storage)
    storage.remove(f"{dataset.files}/1.parquet")
    opened = open_dataset(storage, dataset)
    assert opened["t"]["a"].tolist() == [1]
    with pytest.raises(StorageUnavailable, match=r"1\.parquet"):
        opened.table("u")


def test_a_dataset_under_another_name_says_so(storage: Storage) -> None:
    dataset = dataset_of(DataSource("d", {"t": pd.DataFrame({"a": [1]})}), storage)
    derived = dataset.evolve(key="e", type="derived")
    found = json.loads(b"".join(json_chunks(storage, derived)))["metadata"]
    assert (found["name"], found["type"]) == ("e", "derived")
    assert open_dataset(storage, derived).name == "e"


def test_the_columnar_forms_have_every_row_in_its_own_type(storage: Storage) -> None:
    times = ["2024-01-01", "2024-01-02T03:04:05"] * 50_000
    data = [{"at": at, "n": number} for number, at in enumerate(times)]
    table = {"data": data, "dtypes": {"at": "datetime64[us]", "n": "int32"}}
    dataset = dataset_of(DataSource.from_json({"metadata": {"name": "d"}, "tables": {"t": table}}), storage)
    file = pq.read_table(io.BytesIO(b"".join(parquet(storage, dataset))))
    stream = pa.ipc.open_stream(b"".join(arrow_stream(storage, dataset, "t"))).read_all()
    for found in (file, stream):
        assert found.schema.types == [pa.timestamp("us"), pa.int32()]
        assert found.column("n").to_pylist() == list(range(100_000))
    assert stream.column("at").to_pandas().iloc[1] == pd.Timestamp("2024-01-02T03:04:05")


def test_a_table_of_its_own_types_is_downloaded_as_it_lies(storage: Storage) -> None:
    dataset = dataset_of(DataSource("d", {"t": pd.DataFrame({"a": [1, 2], "b": ["x", None]})}), storage)
    assert b"".join(parquet(storage, dataset)) == b"".join(storage.read(f"{dataset.files}/0.parquet"))


def test_which_table_is_meant_must_be_clear(storage: Storage) -> None:
    frame = pd.DataFrame({"a": [1]})
    dataset = dataset_of(DataSource("d", {"t": frame, "u": frame}), storage)
    with pytest.raises(BadRequest, match="t, u"):
        parquet(storage, dataset)
    with pytest.raises(DatasetNotFound, match="no table 'v'; it has t, u"):
        arrow_stream(storage, dataset, "v")


STREAMING = """
import resource, sys
import pyarrow as pa
from tunesmith.data import json_chunks, new_files, write_tables
from tunesmith.domain.session import Dataset
from tunesmith.domain.value import utcnow
from tunesmith.storage import Storage

storage, files = Storage(sys.argv[1]), new_files()
schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
def batches(count):
    for number in range(count):
        yield pa.record_batch([pa.array(range(20_000)), pa.array([f"{number} " * 50] * 20_000)], schema=schema)
def run(count):
    tables, size = write_tables(storage, files, [("t", schema, batches(count))])
    dataset = Dataset(id="d", session_id="s", key="d", files=files, tables=tables, metadata={}, bytes=size,
                      created_at=utcnow())
    return sum(map(len, json_chunks(storage, dataset)))
run(5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
written = run(200)
print(written // 2**20, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    run = [sys.executable, "-c", STREAMING, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
    written, grown = map(int, done.stdout.split())
    assert written > 500
    assert grown < 150


KILLED = """
import sys
import pyarrow as pa
from tunesmith.data import write_tables
from tunesmith.storage import Storage

schema = pa.schema([("a", pa.int64())])
def batches():
    while True:
        print("writing", flush=True)
        yield pa.record_batch([pa.array(range(100_000))], schema=schema)
write_tables(Storage(sys.argv[1]), "datasets/1", [("t", schema, batches())])
"""


@pytest.mark.parametrize("moment", [1, 5, 40])
def test_a_killed_writer_leaves_nothing_under_the_key(moment: int, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        for _ in range(moment):
            assert child.stdout.readline() == b"writing\n"
        child.kill()
        assert child.wait() == -signal.SIGKILL
    storage = Storage(str(tmp_path))
    assert b"".join(storage.read("datasets/1/0.parquet")) == b""
    storage.remove_all("datasets/1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


KEYS = """
import sys
from tunesmith.storage import Storage

storage = Storage(sys.argv[1])
for number in range(100_000):
    with storage.open_output("key") as stream:
        for _ in range(10):
            stream.write(f"{number:9}".encode() * 1000)
    if number == 3:
        print("go", flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_writer_killed_at_any_moment_leaves_one_whole_file(attempt: int, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KEYS, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"go\n"
        storage = Storage(str(tmp_path))
        for _ in range(50 * attempt):
            assert len(b"".join(storage.read("key"))) == 90_000  # also while it is replaced
        child.kill()
        child.wait()
    found = b"".join(storage.read("key"))
    assert found == found[:9] * 10_000


FULL = """
import resource, signal, sys
from tunesmith.errors import StorageUnavailable
from tunesmith.storage import Storage

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with Storage(sys.argv[1]).open_output("key") as stream:
        stream.write(bytes(1_000_000))
except StorageUnavailable as error:
    print(error)
"""


def test_a_full_disk_is_an_unavailable_storage_and_leaves_nothing(tmp_path: Path) -> None:
    run = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "cannot be reached" in done.stdout
    assert list(tmp_path.iterdir()) == []
