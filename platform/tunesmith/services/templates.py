"""Slips in command templates: a misspelt parameter's name, and a parameter inside of what only bash expands."""

from __future__ import annotations

import difflib
import re

from tunesmith.domain import CommandTool, ExperimentSpec

USED = re.compile(r"(?<![\\$])\$(?:\{([A-Za-z_]\w*)[^}]*\}|([A-Za-z_]\w*))")
OF_BASH = re.compile(
    r"(?<![\\$])\$\{(?:[#!]([A-Za-z_]\w*)[^}]*|([A-Za-z_]\w*)[^}\w](?:[^{}]|\{[^{}]*\})*)\}"  # ${#name}, ${name:-9}
)
ASSIGNED = re.compile(
    r"(?:^|[\s;&|({`])([A-Za-z_]\w*)(?:\[[^]]*\])?\+?="  # name=, name+=, name[i]=
    r"|\b(?:for|select)\s+([A-Za-z_]\w*)"
    r"|\b(?:read|export|local|declare|typeset|readonly|mapfile|readarray|getopts|printf\s+-v)\b([^\n;&|]*)",
    re.MULTILINE,
)
# fmt: off
USUAL = frozenset((
    "HOME", "PATH", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "TMPDIR", "TMP", "TEMP", "LANG", "LC_ALL", "TERM",
    "HOSTNAME", "HOST", "EDITOR", "DISPLAY", "TZ", "UID", "EUID", "RANDOM", "SECONDS", "LINENO", "IFS", "PPID",
    "BASHPID", "BASH", "BASH_VERSION", "FUNCNAME", "PIPESTATUS", "OPTARG", "OPTIND", "REPLY", "EPOCHSECONDS",
    "EPOCHREALTIME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    "CONDA_PREFIX", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
))
# fmt: on
"""Variables that an environment, or bash itself, usually has."""
ALIKE = 0.75
"""How similar a name must be to a parameter's to be taken for a slip of it (difflib's ratio)."""


def slips(spec: ExperimentSpec) -> tuple[str, ...]:
    """A warning for each name in the templates that is probably a misspelt parameter, or that only bash expands."""
    if not isinstance(spec.tool, CommandTool):
        return ()
    templates = [text for text in (spec.tool.setup, spec.tool.command, spec.tool.finish) if text]
    declared = [parameter.name for parameter in spec.space]
    assigned = {name for text in templates for name in _assigned(text)}
    left = (
        f"`{expansion}` is left to bash, where {name} is not set; write ${{{name}}}"
        for expansion, name in _left_to_bash(templates)
        if name in declared and name not in assigned
    )
    return (*left, *_misspelt(templates, declared, assigned))


def _left_to_bash(templates: list[str]) -> list[tuple[str, str]]:
    """The expansions that are no holes, and the name in each."""
    found = (match for text in templates for match in OF_BASH.finditer(text))
    return list(dict.fromkeys((match[0], match[1] or match[2]) for match in found))


def _misspelt(templates: list[str], declared: list[str], assigned: set[str]) -> tuple[str, ...]:
    used = dict.fromkeys(match[1] or match[2] for text in templates for match in USED.finditer(text))
    suspects = [
        name for name in used if name not in declared and name not in USUAL and not name.startswith("TUNESMITH_")
    ]
    near = ((name, _nearest(name, declared)) for name in suspects if name not in assigned)
    return tuple(
        f"the template uses ${{{name}}}, which is no parameter and is left to bash; did you mean ${{{parameter}}}?"
        for name, parameter in near
        if parameter is not None
    )


def _assigned(template: str) -> set[str]:
    names: set[str] = set()
    for match in ASSIGNED.finditer(template):
        names.update(name for name in (match[1], match[2]) if name)
        names.update(re.findall(r"[A-Za-z_]\w*", match[3] or ""))
    return names


def _nearest(name: str, declared: list[str]) -> str | None:
    by_fold = {parameter.casefold(): parameter for parameter in declared}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=ALIKE)
    return by_fold[near[0]] if near else None
