"""The container files: they parse, refer to what exists, and `start_compose.sh` calls the engine as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.errors import InvalidSettings
from tunesmith.settings import PREFIX, load_settings

ROOT = Path(__file__).resolve().parents[2]
MODES = ("dev", "prod")
EXAMPLE_ENV = (ROOT / "config" / ".example.env").read_text()
HOLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def compose(mode: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / f"compose.{mode}.yaml").read_text())
    assert isinstance(document, dict)
    return document


def platform(mode: str) -> dict[str, Any]:
    service = compose(mode)["services"]["platform"]
    assert isinstance(service, dict)
    return service


def filled(text: str) -> str:
    """The text as compose interpolates it with the two secrets and nothing else set."""
    secrets = {"POSTGRES_PASSWORD": "secret", "TUNESMITH_API_KEY": "a key of some length"}
    return HOLE.sub(lambda hole: secrets.get(hole[1]) or hole[3] or "", text)


@pytest.mark.parametrize("mode", MODES)
class TestComposeFiles:
    def test_volumes_and_dependencies_are_declared(self, mode: str) -> None:
        document = compose(mode)
        for service in document["services"].values():
            assert {mount.split(":")[0] for mount in service.get("volumes", [])} <= set(document["volumes"])
            assert set(service.get("depends_on", {})) <= set(document["services"])

    def test_every_variable_is_explained_in_the_example_settings(self, mode: str) -> None:
        used = {hole[0] for hole in HOLE.findall((ROOT / f"compose.{mode}.yaml").read_text())}
        assert not [name for name in used if not re.search(rf"^#?{name}=", EXAMPLE_ENV, re.MULTILINE)]

    def test_defaults_are_those_of_the_example_settings(self, mode: str) -> None:
        for name, kind, default in HOLE.findall((ROOT / f"compose.{mode}.yaml").read_text()):
            if kind == "-":
                assert re.search(rf"^#{name}={re.escape(default)}$", EXAMPLE_ENV, re.MULTILINE), name

    def test_the_platform_gets_settings_that_it_knows(self, mode: str) -> None:
        environment = {name: filled(value) for name, value in platform(mode)["environment"].items()}
        settings = load_settings(environment)
        assert settings.mode == mode
        assert settings.host == "0.0.0.0"
        assert settings.container is (mode == "dev")
        assert (settings.api_key is not None) is (mode == "prod")
        assert settings.database == "postgresql+psycopg://tunesmith:secret@postgres/tunesmith"

    def test_the_port_is_published_on_loopback_unless_someone_says_otherwise(self, mode: str) -> None:
        assert [filled(port) for port in platform(mode)["ports"]] == ["127.0.0.1:8000:8000"]
        assert "ports" not in compose(mode)["services"]["postgres"]

    def test_it_reads_the_settings_file_of_its_mode(self, mode: str) -> None:
        assert platform(mode)["env_file"] == f"config/.env.{mode}"

    def test_trials_do_not_see_the_password(self, mode: str) -> None:
        assert platform(mode)["environment"]["POSTGRES_PASSWORD"] == ""

    def test_the_shared_memory_holds_the_object_store(self, mode: str) -> None:
        (gigabytes,) = re.findall(r"^(\d+)gb$", filled(platform(mode)["shm_size"]))
        assert int(gigabytes) * 10**9 > load_settings({}).object_store_bytes


def test_a_development_port_cannot_be_published_elsewhere() -> None:
    assert all(port.startswith("127.0.0.1:") for port in platform("dev")["ports"])


def test_the_example_settings_load_as_they_are_and_with_every_line_in_force() -> None:
    for text in (EXAMPLE_ENV, re.sub(r"^#([A-Z_]+=)", r"\1", EXAMPLE_ENV, flags=re.MULTILINE)):
        pairs = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z_]+=", line))
        assert load_settings(pairs).model_dump() == load_settings({}).model_dump()
    with pytest.raises(InvalidSettings, match="TUNESMITH_PORT"):
        load_settings({PREFIX + "PROT": "1"})


class TestDockerfile:
    TEXT = (ROOT / "Dockerfile").read_text()

    def test_what_it_copies_exists_and_is_not_ignored(self) -> None:
        kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
        copied = [
            word for line in re.findall(r"^COPY (?!--from)(.+)$", self.TEXT, re.MULTILINE) for word in line.split()[:-1]
        ]
        assert copied
        assert not [name for name in copied if not (ROOT / name).exists()]
        assert sorted(copied) == sorted(kept)

    def test_nothing_but_what_is_named_gets_into_the_build(self) -> None:
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        assert next(line for line in lines if not line.startswith("#")) == "*"

    def test_it_runs_the_platform_as_an_ordinary_user_and_looks_after_its_health(self) -> None:
        user = self.TEXT.index("\nUSER tunesmith")
        assert self.TEXT.index("useradd") < user < self.TEXT.index('\nCMD ["tunesmith", "up"]')
        assert "/health'" in self.TEXT


class Checkout:
    """A copy of what `start_compose.sh` needs, and a PATH with the container programs that a test wants there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "bin"
        self.calls = root / "calls"
        self.programs.mkdir()
        (root / "config").mkdir()
        for name in ("start_compose.sh", "compose.dev.yaml", "compose.prod.yaml"):
            shutil.copy(ROOT / name, root)
        for name in ("bash", "cat", "dirname", "env"):
            (self.programs / name).symlink_to(str(shutil.which(name)))

    def program(self, name: str, knows_compose: bool = True) -> None:
        """A container program that writes down how it was called."""
        script = self.programs / name
        refusal = "" if knows_compose else '[ "$1" != compose ] || exit 125\n'
        script.write_text(
            f'#!/usr/bin/env bash\n{refusal}case "$*" in *version) exit ;; esac\n'
            f'printf "%s\\n" {name} "$@" >> "{self.calls}"\n'
        )
        script.chmod(0o755)

    def settings(self, mode: str) -> None:
        shutil.copy(ROOT / "config" / ".example.env", self.root / "config" / f".env.{mode}")

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.root / "start_compose.sh"), *arguments]
        env = {"PATH": str(self.programs), **environment}
        return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=20)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def options(mode: str) -> list[str]:
    return [
        *("--project-name", f"tunesmith-{mode}"),
        *("--file", f"compose.{mode}.yaml"),
        *("--env-file", f"config/.env.{mode}"),
    ]


class TestStartCompose:
    @pytest.mark.parametrize("mode", MODES)
    def test_the_other_arguments_go_to_docker_compose_up(self, checkout: Checkout, mode: str) -> None:
        checkout.program("docker")
        checkout.settings(mode)
        assert checkout.run(f"--{mode}", "--build", "--detach", "a b").returncode == 0
        assert checkout.called() == ["docker", "compose", *options(mode), "up", "--build", "--detach", "a b"]

    def test_without_a_flag_it_is_the_development_deployment(self, checkout: Checkout) -> None:
        checkout.program("docker")
        checkout.settings("dev")
        assert checkout.run().returncode == 0
        assert checkout.called() == ["docker", "compose", *options("dev"), "up"]

    def test_a_word_is_another_compose_command(self, checkout: Checkout) -> None:
        checkout.program("docker")
        checkout.settings("dev")
        assert checkout.run("--dev", "logs", "--follow").returncode == 0
        assert checkout.called() == ["docker", "compose", *options("dev"), "logs", "--follow"]

    @pytest.mark.parametrize(
        ("programs", "expected"),
        [
            (["docker", "docker-compose", "podman"], ["docker", "compose"]),
            (["docker-compose", "podman"], ["docker-compose"]),
            (["podman", "podman-compose"], ["podman", "compose"]),
            (["podman-compose"], ["podman-compose"]),
        ],
    )
    def test_it_takes_the_engine_that_is_there(
        self, checkout: Checkout, programs: list[str], expected: list[str]
    ) -> None:
        for name in programs:
            checkout.program(name)
        checkout.settings("dev")
        assert checkout.run("--dev").returncode == 0
        assert checkout.called() == [*expected, *options("dev"), "up"]

    def test_a_docker_without_its_compose_plugin_is_passed_over(self, checkout: Checkout) -> None:
        checkout.program("docker", knows_compose=False)
        checkout.program("podman-compose")
        checkout.settings("dev")
        assert checkout.run("--dev").returncode == 0
        assert checkout.called() == ["podman-compose", *options("dev"), "up"]

    def test_the_program_can_be_named(self, checkout: Checkout) -> None:
        checkout.program("docker")
        checkout.program("podman-compose")
        checkout.settings("dev")
        assert checkout.run("--dev", COMPOSE="podman-compose").returncode == 0
        assert checkout.called()[0] == "podman-compose"

    def test_the_engines_exit_status_is_its_own(self, checkout: Checkout) -> None:
        checkout.program("docker")
        with (checkout.programs / "docker").open("a") as script:
            script.write("exit 17\n")
        checkout.settings("dev")
        assert checkout.run("--dev").returncode == 17

    def test_both_flags_are_refused(self, checkout: Checkout) -> None:
        checkout.program("docker")
        ended = checkout.run("--dev", "--prod")
        assert ended.returncode == 2
        assert "exclude one another" in ended.stderr
        assert checkout.called() == []

    @pytest.mark.parametrize("mode", MODES)
    def test_a_missing_settings_file_is_explained(self, checkout: Checkout, mode: str) -> None:
        checkout.program("docker")
        ended = checkout.run(f"--{mode}")
        assert ended.returncode == 1
        assert f"cp config/.example.env config/.env.{mode}" in ended.stderr
        assert checkout.called() == []

    def test_no_engine_at_all_is_explained(self, checkout: Checkout) -> None:
        checkout.settings("dev")
        ended = checkout.run("--dev")
        assert ended.returncode == 1
        assert "podman-compose" in ended.stderr

    def test_help_needs_nothing(self, checkout: Checkout) -> None:
        ended = checkout.run("--help")
        assert ended.returncode == 0
        assert "./start_compose.sh [--dev | --prod] (any other args to pass to docker, e.g. --build)" in ended.stdout

    def test_it_can_be_executed(self) -> None:
        assert os.access(ROOT / "start_compose.sh", os.X_OK)
