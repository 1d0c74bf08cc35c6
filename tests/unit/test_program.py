"""Programs: what may be asked of them, how their holes are filled, their rotated logs, their containers' commands."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tuners.messages import Containers
from tuners.tools import containers
from tuners.tools.containers import Engine, container, find_engine
from tuners.tools.program import fill
from tuners.tools.resuming import shown
from tuners.tools.rotation import Pump, RotatedLog, notice
from tuners.tools.running import Failed
from tunesmith.domain import Experiment, ProgramTool, Resources
from tunesmith.errors import InvalidSettings
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.settings import load_settings
from tunesmith.testing.factories import EPOCH, spec


def tool(**fields: Any) -> ProgramTool:
    return ProgramTool.model_validate({"command": ["true"]} | fields)


class TestTool:
    @pytest.mark.parametrize(
        "image",
        [
            "ubuntu",
            "ubuntu:22.04",
            "library/python:3.12-slim",
            "ghcr.io/team/deep/image_name:v1.0",
            "localhost/x:1",
            "localhost:5000/x",
            "10.0.0.1:5000/team/x",
            "[::1]:5000/x",
            "registry.example/x@sha256:" + "a" * 64,
            "a__b/c--d.e:T_a-g.1",
        ],
    )
    def test_references_to_images_are_taken(self, image: str) -> None:
        assert tool(image=image).image == image

    @pytest.mark.parametrize(
        "image",
        ["", " ", "Ubuntu", "team/Image", "-v", "--privileged", "x:", "x:a b", "x y", "/x", "x/", "x//y", "x@sha256:12",
         "docker://x", "x:" + "t" * 129, "UPPER/x", "x\n", "https://registry.example/x"],
    )  # fmt: skip
    def test_what_is_no_image_is_refused_and_says_how_to_write_one(self, image: str) -> None:
        with pytest.raises(
            ValidationError, match="no reference to an image; write name:tag or host:port/path/name:tag"
        ):
            tool(image=image)

    @pytest.mark.parametrize("path", ["/checkpoints/resnet50", "deep/er", "s3://bucket", "s3://bucket/pre/fix", "a..b"])
    def test_checkpoint_paths_are_taken(self, path: str) -> None:
        assert tool(checkpoint_path=path).checkpoint_path == path

    @pytest.mark.parametrize("path", ["", "..", "a/../../b", "/a/../b", "gs://bucket/x", "s3://", "s3:///x"])
    def test_checkpoint_paths_that_lead_elsewhere_are_refused(self, path: str) -> None:
        with pytest.raises(ValidationError):
            tool(checkpoint_path=path)

    @pytest.mark.parametrize("name", ["", "A=B", "A B", "1A", "JOB_ID", "RESUME_FROM_CHECKPOINT", "TUNESMITH_METRICS"])
    def test_variables_that_cannot_be_set_are_refused(self, name: str) -> None:
        with pytest.raises(ValidationError, match=r"no name of a variable|set by the platform"):
            tool(env={name: "x"})

    @pytest.mark.parametrize("command", [[], [""], [" ", "x"], ["x"] * 1001, ["x", "y" * 100_001]])
    def test_commands_that_name_no_program_are_refused(self, command: list[str]) -> None:
        with pytest.raises(ValidationError):
            tool(command=command)

    def test_the_same_program_is_the_same_experiment(self) -> None:
        one, other = (spec(tool=tool(env=env)) for env in ({"A": "1", "B": "2"}, {"B": "2", "A": "1"}))
        assert one.content_hash == other.content_hash != spec(tool=tool(env={"A": "1"})).content_hash

    def test_the_experiments_surface_shows_it(self) -> None:
        wanted = spec(tool=tool(image="x:1"))
        experiment = Experiment(
            id=1, workspace_id="w", spec=wanted, name="x", tags=(), archived=False, created_at=EPOCH, counts={}
        )
        answer = ExperimentAnswer.of(experiment)
        assert (answer.program, answer.command_template_string) == (wanted.tool, None)


class TestHoles:
    @pytest.mark.parametrize(
        ("text", "filled"),
        [
            ("--lr=${lr}", "--lr=0.1"),
            ("${flag}${none}|${text}", "truenull|a b; $(x)"),
            ("$lr {lr} ${lr", "$lr {lr} ${lr"),
            ("$${lr} $${other}", "${lr} ${other}"),
            ("[${inactive}]", "[]"),
        ],
    )
    def test_values_are_text_as_in_templates(self, text: str, filled: str) -> None:
        params = {"lr": 0.1, "flag": True, "none": None, "text": "a b; $(x)"}
        assert fill(text, [*params, "inactive"], params) == filled

    def test_an_unknown_one_is_told(self) -> None:
        with pytest.raises(
            Failed, match=r"\$\{HOME\} in '--at=\$\{HOME\}' is no parameter \(lr\); for the text, write"
        ):
            fill("--at=${HOME}", ["lr"], {"lr": 1})


def test_credentials_of_a_url_are_not_shown() -> None:
    assert shown("s3://key:secret@bucket/a/b?region=x") == "s3://bucket/a/b"
    assert shown("/a//b@c") == "/a//b@c"


class TestLog:
    @pytest.mark.parametrize("step", [1, 7, 333, 5000])
    @pytest.mark.parametrize("size", [0, 999, 1100, 1101, 1150, 1200, 2100, 2101, 2300, 3101, 12_345, 40_000])
    def test_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(
        self, tmp_path: Path, size: int, step: int
    ) -> None:
        data = bytes((i * 7 + i // 251) % 251 for i in range(size))
        path = tmp_path / "log"
        with RotatedLog(path, 1000) as log:
            for start in range(0, size, step):
                log.write(data[start : start + step])
                assert path.stat().st_size <= 100 + len(notice(0)) + 2000 + step
            assert log.tail(50) == data[-50:]
        kept = path.read_bytes()
        if size <= 1100:
            assert kept == data
            return
        found = re.search(rb"\n\[tunesmith: +(\d+) bytes of output were left out here\]\n", kept)
        assert found
        assert kept[: found.start()] == data[:100]
        end = kept[found.end() :]
        assert end == data[100 + int(found[1]) :]
        assert len(end) == 1000 or (size < 1200 and len(end) > 1000 - len(notice(0)))

    def test_a_log_whose_name_was_taken_away_is_still_written(self, tmp_path: Path) -> None:
        with RotatedLog(tmp_path / "log", 1000) as log:
            (tmp_path / "log").unlink()
            for number in range(1000):
                log.write(f"{number}\n".encode())
            assert log.tail(8) == b"998\n999\n"

    def test_what_was_written_to_the_pump_is_there_when_it_is_closed(self, tmp_path: Path) -> None:
        with RotatedLog(tmp_path / "log", 10_000_000) as log:
            pump = Pump(log)
            with open(pump.fileno(), "wb", closefd=False) as sink:
                sink.write(b"x" * 5_000_000)
            pump.close()
        assert (tmp_path / "log").stat().st_size == 5_000_000


def engine_saying(directory: Path, name: str, info: str) -> Engine:
    """A program that answers `info` as an engine does, which is all that is asked of it here."""
    path = directory / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{info}\nEND\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Engine((str(path),))


PODMAN = '{"host": {"cgroupControllers": ["cpu", "memory"]}}'
DOCKER = '{"MemoryLimit": true, "CpuCfsQuota": true}'


class TestContainer:
    def made(self, engine: Engine, settings: Containers | None = None, **resources: Any) -> containers.Container:
        return container(
            engine,
            settings or Containers(),
            "image:1",
            ["program", "--flag"],
            {"PLAIN": "hidden value", "LINES": "a\nb"},
            {Path("/data/x"): Path("/checkpoint")},
            Resources(**resources),
            {"execution": "abc"},
            {"job": "train-1", "attempt": "2"},
        )

    def test_no_value_of_a_variable_is_on_the_command_line(self, tmp_path: Path) -> None:
        made = self.made(engine_saying(tmp_path, "podman", PODMAN))
        assert not [word for word in made.args if "hidden" in word or "a\nb" in word]
        assert (made.stdin, made.env) == (b"PLAIN=hidden value\n", {"LINES": "a\nb"})
        assert made.args[made.args.index("--env") + 1] == "LINES"

    @pytest.mark.parametrize(("name", "info"), [("podman", PODMAN), ("docker", DOCKER)])
    def test_limits_are_those_of_the_resources(self, tmp_path: Path, name: str, info: str) -> None:
        args = self.made(engine_saying(tmp_path, name, info), cpus=0.5, memory_bytes=10**9).args
        assert {"--cpus=0.5", "--memory=1000000000b"} <= set(args)
        assert args[-3:] == ["image:1", "program", "--flag"]

    def test_limits_that_the_node_cannot_keep_are_left_out(self, tmp_path: Path) -> None:
        args = self.made(engine_saying(tmp_path, "podman", '{"host": {}}'), cpus=1, memory_bytes=10**9).args
        assert not [word for word in args if word.startswith(("--cpus", "--memory"))]

    @pytest.mark.parametrize(
        ("name", "given", "expected"),
        [
            ("podman", "0,3", ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=3"]),
            ("podman", "", ["--device=nvidia.com/gpu=all"]),
            ("docker", "0,3", ['--gpus="device=0,3"']),
            ("docker", "", ["--gpus=all"]),
        ],
    )
    def test_it_gets_the_gpus_that_ray_gave_to_the_worker(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str, expected: list[str]
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        args = self.made(engine_saying(tmp_path, name, "{}"), gpus=1).args
        assert [word for word in args[1:] if "gpu" in word] == expected

    def test_credentials_and_options_reach_either_engine(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text("{}")
        settings = Containers(auth_file=str(file), pull="never", options=("--network=none",))
        args = self.made(engine_saying(tmp_path, "podman", "{}"), settings).args
        assert {f"--authfile={file}", "--pull=never", "--network=none"} <= set(args)
        docker = engine_saying(tmp_path, "docker", "{}")
        assert self.made(docker, settings).args[:4] == [*docker.words, "--config", str(tmp_path), "run"]

    def test_a_missing_file_of_credentials_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(Failed, match=r"registry_auth_file '/no/file': there is no such file on this node"):
            self.made(engine_saying(tmp_path, "podman", "{}"), Containers(auth_file="/no/file"))

    def test_an_engine_that_does_not_work_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "podman"
        path.write_text("#!/bin/sh\necho no daemon >&2\nexit 1\n")
        path.chmod(0o755)
        with pytest.raises(Failed, match="the container engine does not work on this node: no daemon"):
            self.made(Engine((str(path),)))

    @pytest.mark.parametrize(
        ("words", "is_docker"),
        [("docker", True), ("sudo /usr/bin/docker", True), ("podman --root /var/docker", False), ("podman", False)],
    )
    def test_docker_is_known_by_its_name(self, words: str, is_docker: bool) -> None:
        assert Engine(tuple(words.split())).is_docker is is_docker

    def test_without_an_engine_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Failed, match=r"install podman .*or docker on it, or say with TUNESMITH_CONTAINER_ENGINE"):
            find_engine(Containers())
        with pytest.raises(Failed, match=r"'nerdctl -n x' \(TUNESMITH_CONTAINER_ENGINE\) is not on this node"):
            find_engine(Containers(engine="nerdctl -n x"))
        engine_saying(tmp_path, "docker", "{}")
        assert find_engine(Containers()) == Engine(("docker",))
        engine_saying(tmp_path, "podman", "{}")
        assert find_engine(Containers()) == Engine(("podman",))
        assert find_engine(Containers(engine="docker --log-level error")).words == ("docker", "--log-level", "error")


class TestSettings:
    def test_options_are_a_list(self) -> None:
        for text in ('["--ulimit=nofile=1:2", "--init"]', "--ulimit=nofile=1:2, --init"):
            settings = load_settings({"TUNESMITH_CONTAINER_OPTIONS": text})
            assert settings.container_options == ("--ulimit=nofile=1:2", "--init")
            assert load_settings(settings.environment()) == load_settings(settings.environment() | {"X": "y"})

    def test_bad_values_are_refused(self) -> None:
        for name, value in (("PULL", "sometimes"), ("OPTIONS", '["--init"')):
            with pytest.raises(InvalidSettings, match=f"TUNESMITH_CONTAINER_{name}="):
                load_settings({f"TUNESMITH_CONTAINER_{name}": value})
