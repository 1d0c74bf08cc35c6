"""Containers: the command line that runs a program in an image, with podman or docker, and the one that removes it.

The environment goes to the engine through its stdin, so that no value of it stands on a command line or in a file; what
a line of that cannot hold, through the engine's own environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path, PurePath

from tuners.messages import Containers
from tuners.tools.running import Failed
from tunesmith.domain import Resources

TRIAL_DIR, CHECKPOINT_DIR = Path("/trial"), Path("/checkpoint")
"""Where a container finds the trial's directory and the checkpoint."""
INFO_S = 30.0
"""Seconds that an engine may take to say what it can do."""
MAX_LINE = 32_000
"""Bytes of a variable that engines read from a file of lines."""


@dataclass(frozen=True)
class Engine:
    """A container engine of this node."""

    words: tuple[str, ...]
    """Its command, options included."""

    @property
    def is_docker(self) -> bool:
        """Whether it runs containers in a service of its own, and not as its children."""
        programs = takewhile(lambda word: not word.startswith("-"), self.words)  # there may be a sudo before it
        return any("docker" in PurePath(word).name for word in programs)

    def command(self, settings: Containers) -> list[str]:
        """The words before `run`."""
        if not self.is_docker or settings.auth_file is None:
            return list(self.words)
        file = _auth_file(settings.auth_file)
        if file.name != "config.json":
            raise Failed(f"registry_auth_file {str(file)!r}: docker wants a file with the name config.json")
        return [*self.words, "--config", str(file.parent)]


@dataclass(frozen=True)
class Container:
    """A container to be run."""

    args: list[str]
    """The engine's command line."""
    env: dict[str, str]
    """Variables for the engine itself."""
    stdin: bytes
    """What the engine reads: lines of variables."""
    cleanup: list[str]
    """The command that removes it, whatever state it is in."""


def find_engine(settings: Containers) -> Engine:
    """The engine that the settings name, or one that is there. Raises Failed, which says what to install."""
    if settings.engine is not None:
        words = shlex.split(settings.engine)
        if not words or shutil.which(words[0]) is None:
            raise Failed(
                f"the container engine {settings.engine!r} (TUNESMITH_CONTAINER_ENGINE) is not on this node; "
                "install it there, or name another one"
            )
        return Engine(tuple(words))
    for name in ("podman", "docker"):
        if shutil.which(name) is not None:
            return Engine((name,))
    raise Failed(
        "this node has no container engine to run an image with; install podman (apt-get install podman, "
        "dnf install podman) or docker on it, or say with TUNESMITH_CONTAINER_ENGINE where one is"
    )


def container(
    engine: Engine,
    settings: Containers,
    image: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    mounts: Mapping[Path, Path],
    resources: Resources,
    labels: Mapping[str, str],
    naming: Mapping[str, str],
) -> Container:
    """How to run a command in an image; `mounts`: directory of the node -> where it is in the container.

    `naming`: those labels that its name is made of.

    Raises:
        Failed: a setting cannot be followed on this node.
    """
    name = "-".join(["tunesmith", *naming.values(), uuid.uuid4().hex[:8]])
    lines, own = _passed(variables)
    args = [*engine.command(settings), "run", "--rm", "--name", name, "--log-driver=none", "--stop-timeout=0"]
    args += [f"--label=tunesmith.{label}={value}" for label, value in {**labels, **naming}.items()]
    args += [f"--pull={settings.pull}", "--env-file=/dev/stdin"]
    if settings.auth_file is not None and not engine.is_docker:
        args.append(f"--authfile={_auth_file(settings.auth_file)}")
    for variable in own:
        args += ["--env", variable]
    for source, target in mounts.items():
        if "," in str(source):
            raise Failed(f"{str(source)!r} has a comma in it, so no container can have it; choose another directory")
        args += ["--mount", f"type=bind,source={source},target={target}"]
    args += [*_limits(engine, resources), *settings.options, image, *command]
    missing_ok = [] if engine.is_docker else ["--ignore"]
    return Container(args, own, lines, [*engine.words, "rm", "--force", *missing_ok, name])


def remove_left(engine: Engine, execution: str) -> None:
    """Remove what an earlier attempt of an execution left when nobody was alive to do it: the node went down."""
    left = _asked(engine, "ps", "--all", "--quiet", f"--filter=label=tunesmith.execution={execution}").split()
    if left:
        _asked(engine, "rm", "--force", *left)


def _asked(engine: Engine, *words: str) -> str:
    """What an engine answers; nothing when it does not."""
    command = [*engine.words, *words]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INFO_S)
        return done.stdout
    return ""


def explanation(engine: Engine, image: str, program: str, exit_code: int) -> str:
    """What an exit code of an engine's `run` means."""
    name = PurePath(engine.words[0]).name
    meanings = {
        125: f" of {name} itself: the image {image} is not there and could not be fetched, or an option is wrong",
        126: f": {program!r} in the image {image} is nothing that can be executed, unless it ended so itself",
        127: f": {program!r} is not in the image {image}, unless it ended so itself",
        137: ": killed (SIGKILL), often because it needed more memory than resources.memory_bytes allows",
    }
    return meanings.get(exit_code, "")


def _auth_file(path: str) -> Path:
    if not Path(path).is_file():
        raise Failed(f"registry_auth_file {path!r}: there is no such file on this node")
    return Path(path).absolute()


def _passed(variables: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """The variables as lines, and those that are none."""
    own = {
        name: value
        for name, value in variables.items()
        if "\n" in value or "\r" in value or len(value.encode()) > MAX_LINE
    }
    lines = [f"{name}={value}\n" for name, value in variables.items() if name not in own]
    return "".join(lines).encode(), own


def _limits(engine: Engine, resources: Resources) -> list[str]:
    able, args = _abilities(engine.words), []
    if resources.cpus > 0 and "cpu" in able:
        args.append(f"--cpus={min(resources.cpus, os.cpu_count() or 1):g}")
    if resources.memory_bytes and "memory" in able:
        args.append(f"--memory={resources.memory_bytes}b")
    if resources.gpus > 0:
        mine = os.environ.get("CUDA_VISIBLE_DEVICES") or "all"  # those that Ray gave to this worker
        if engine.is_docker:
            args.append("--gpus=all" if mine == "all" else f'--gpus="device={mine}"')
        else:
            args += [f"--device=nvidia.com/gpu={device}" for device in mine.split(",")]
    return args


@cache
def _abilities(words: tuple[str, ...]) -> frozenset[str]:
    """What of `cpu` and `memory` the engine can limit on this node. Raises Failed when it does not work at all."""
    command = [*words, "info", "--format", "{{json .}}"]
    try:
        answer = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=INFO_S, check=True)
        info = json.loads(answer.stdout)
    except subprocess.CalledProcessError as error:
        raise Failed(
            f"the container engine does not work on this node: {error.stderr.decode(errors='replace').strip()}"
        ) from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise Failed(f"the container engine does not work on this node: {error}") from error
    podman = info.get("host", {}).get("cgroupControllers") or []
    docker = {"cpu": info.get("CPUCfsQuota") or info.get("CpuCfsQuota"), "memory": info.get("MemoryLimit")}
    return frozenset({name for name, able in docker.items() if able} | ({"cpu", "memory"} & set(podman)))
