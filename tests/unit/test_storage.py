"""The artefact storage on a directory: whole files or none, read from anywhere, errors in our own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import StorageUnavailable
from tunesmith.storage import CHUNK, Storage, meets, trial_key


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "artifacts"))


def test_a_file_is_read_as_it_was_uploaded_from_any_offset(storage: Storage, tmp_path: Path) -> None:
    content = bytes(range(256)) * (CHUNK // 100)
    (tmp_path / "log").write_bytes(content)
    storage.upload(tmp_path / "log", "experiments/1/log")
    assert b"".join(storage.read("experiments/1/log")) == content
    assert b"".join(storage.read("experiments/1/log", offset=CHUNK + 7)) == content[CHUNK + 7 :]
    assert list(storage.read("experiments/1/log", offset=len(content) + 1)) == []
    assert max(map(len, storage.read("experiments/1/log"))) <= CHUNK


def test_nothing_lies_under_an_unknown_key(storage: Storage) -> None:
    assert list(storage.read("experiments/1/log")) == []


def test_an_upload_replaces_the_file_and_leaves_nothing_beside_it(storage: Storage, tmp_path: Path) -> None:
    for text in ("first, and longer", "second"):
        (tmp_path / "log").write_text(text)
        storage.upload(tmp_path / "log", "a/log")
    assert b"".join(storage.read("a/log")) == b"second"
    assert storage.local is not None
    assert [path.name for path in (storage.local / "a").iterdir()] == ["log"]


def test_what_grows_is_read_as_far_as_it_is(storage: Storage) -> None:
    storage.write("a/log", b"one\n")
    assert b"".join(storage.read("a/log")) == b"one\n"
    storage.write("a/log", b"one\ntwo\n")
    assert b"".join(storage.read("a/log", offset=4)) == b"two\n"


def test_everything_under_a_prefix_goes_and_nothing_else(storage: Storage) -> None:
    for key in ("a/1/log.txt", "a/2/log.txt", "ab/log.txt"):
        storage.write(key, b"x")
    storage.remove_all("a")
    storage.remove_all("nothing")
    assert [b"".join(storage.read(key)) for key in ("a/1/log.txt", "a/2/log.txt", "ab/log.txt")] == [b"", b"", b"x"]


def test_a_root_that_can_be_written_passes_the_check_and_stays_empty(storage: Storage) -> None:
    storage.check()
    assert storage.local is not None
    assert list(storage.local.iterdir()) == []


def test_a_root_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    storage = Storage(str(tmp_path / "file" / "artifacts"))
    for use in (storage.check, lambda: storage.upload(tmp_path / "file", "a"), lambda: storage.write("a", b"")):
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            use()


def test_a_scheme_that_nobody_knows_is_unavailable() -> None:
    with pytest.raises(StorageUnavailable, match="abc"):
        Storage("abc://bucket/prefix").check()


def test_trials_are_spread_over_directories() -> None:
    assert trial_key(7, 12) == "experiments/7/trials/0000/12"
    assert trial_key(7, 123_456) == "experiments/7/trials/0123/123456"


def test_everything_below_a_prefix_is_deleted_and_nothing_beside_it(storage: Storage) -> None:
    for key in ("runs/1/checkpoint/deep/state", "runs/1/.lock", "runs/10/state"):
        storage.write(key, b"state")
    storage.remove_all("runs/1")
    storage.remove_all("runs/1")
    assert storage.local is not None
    assert [path.name for path in (storage.local / "runs").iterdir()] == ["10"]
    assert b"".join(storage.read("runs/10/state")) == b"state"


@pytest.mark.parametrize(
    "url",
    [
        "s3://own/a/b",
        "s3://own/a/b/",
        "s3://own/a/b/c/d",
        "s3://own/a",
        "s3://own",
        "s3://own//a//b",
        "s3://own/a/b?region=eu",
        "s3://own?region=eu",
        "s3://own/a/b#c",
        "s3://user:p%2Fw@own/a/b",
        "s3://own:443/a/b",
        "s3://OWN/a/b",
        "s3://own/%61/b",
        "s3://own%2Fa/b",
        "s3://o%77n/a/b",
        "s3://user:p%2Fw@own/%61/b",
        "s3://own/x/../a/b",
        "s3://other/../own/a/b",
        "s3://own/x/%2e%2e/a/b",
    ],
)
def test_a_url_that_meets_the_platforms_own_storage(url: str) -> None:
    assert meets(url, "s3://key:word@own/a/b/?endpoint_override=127.0.0.1:9000")
    assert not meets(url, "/data/artifacts")


@pytest.mark.parametrize(
    "url", ["s3://other/a/b", "s3://own/a/bc", "s3://own/b", "s3://own/A/b", "s3://ow/n/a/b", "/own/a"]
)
def test_a_url_beside_the_platforms_own_storage(url: str) -> None:
    assert not meets(url, "s3://own/a/b?region=eu")


def test_a_storage_without_a_prefix_is_its_whole_bucket() -> None:
    for own in ("s3://own", "s3://own/", "s3://own?region=eu"):
        assert meets("s3://own/any/thing", own)
        assert not meets("s3://other/any/thing", own)


def test_a_storage_whose_prefix_is_encoded() -> None:
    assert meets("s3://own/a b/c", "s3://own/a%20b")
    assert meets("s3://own/a%20b/c", "s3://own/a%20b")
