"""Commands that take some text for code: where one of them occurs, only harmless values are put into the script.

What bash does with `"${reference}"` depends on the command that it stands in: `eval`, `bash -c`, `trap` or `[[ -v`
parse the value again. Their names are looked for in the whole command, in quotes too, as it is better to refuse too
much: harmless values are taken everywhere.
"""

from __future__ import annotations

import itertools
import re

from tuners.tools.places import Lexer

SHELL = r"(?:(?:ba|da|z|k|mk|pdk|c|tc|fi|a|rba|pw)?sh|busybox|\$\{?(?:SHELL|BASH)\b\}?)"
WORDS = re.compile(
    r"(?<![\w.-])(?<!\$)(?<!\$\{)(?:"
    + SHELL
    + r"|eval|trap|source|su|sudo|doas|runuser|xargs|parallel|ssh|rsh|watch|alias|complete|"
    r"compgen|fc|bind|coproc|let|declare|typeset|read|mapfile|readarray|getopts|unset|wait|g?awk|mawk|g?sed|perl|ruby|m4)"
    r"(?![\w.-])"
    r"|(?:\A|[;&|({!`\n]|\b(?:then|do|else|if|while|until|command|builtin|time)\b)\s*\.(?=\s)"  # . file
    r"|(?:^|\s)-c(?=[\s'\"$]|\Z)"  # python -c, su -c
    r"|(?:\[|\btest\b|\bprintf\b)[^;]{0,400}?\s-[vR](?=\s|\w|[$\"'])"  # [[ -v, test -v, printf -v
    r"|\[\[[^;]{0,400}?\s-(?:eq|ne|lt|le|gt|ge)\s"
    r"|\b(?:local|readonly|export)\b[^;\n]*?\s[^\s=;]*\$"  # names, and no assignment
    r"|\b(?:python|pypy|node|php|lua|julia|Rscript)[\d.]*(?:[ \t]+-\S*)*[ \t]*(?:\Z|[<\n;&|)])"  # a script on stdin
    r"|\|&?\s*(?:\S*/)?(?:at|batch)\b",
    re.MULTILINE,
)
EVERYWHERE = re.compile(
    r"\b(?:declare|typeset|local|readonly|export)\s+(?:[-+]\w+\s+)*[-+]\w*(?:i|n)\w*(?=\s)"  # v=${x} runs code then
)
CLOSING = re.compile(r"\s*(?:\}|done\b|fi\b|esac\b|exec\b)")
"""The start of a command that has to do with those before it, or after it."""

OPERAND = r"-(?:eq|ne|lt|le|gt|ge)"
RECKONS_BEFORE = re.compile(
    rf"\[\[[^\n]*\s{OPERAND}\s+\S*\Z"  # [[ a -eq HOLE
    r"|(?:\A|[\s;&|({])let\s[^\n;&|]*\Z"  # let a=HOLE
    r"|\b(?:declare|typeset|local|readonly|export)\s+-\w*i\w*\s[^\n;&|]*\Z"  # declare -i a=HOLE
    r"|\$\{\w+(?:\[[^]]*\])?:(?![-=?+])(?:[^{}]|\{[^{}]*\})*\Z"  # ${a:HOLE}
)
RECKONS_AFTER = re.compile(rf"\S*\s+{OPERAND}\s")
SUBSCRIPT = re.compile(r"\[[^]\s]*\Z")
LOOK_BACK = 200
"""Characters before a position that are looked at."""


def dangers(script: str, lexer: Lexer) -> dict[int, str]:
    """Number of a command -> the word because of which it may take a value for code."""
    texts: dict[int, list[str]] = {}
    for number, positions in itertools.groupby(range(len(script)), key=lexer.commands.__getitem__):
        run = list(positions)
        texts.setdefault(number, []).append(script[run[0] : run[-1] + 1])
    commands = {number: "".join(pieces).replace("\\\n", " ") for number, pieces in texts.items()}
    found = {number: match[0].strip() for number, text in commands.items() if (match := WORDS.search(text))}
    general = EVERYWHERE.search(script)
    word = general[0] if general else next((w for n, w in found.items() if CLOSING.match(commands[n])), None)
    if word is not None:
        return dict.fromkeys(commands, word) | found
    if found:  # the end of a loop may send a here-document into it
        some = next(iter(found.values()))
        return {number: some for number, text in commands.items() if CLOSING.match(text)} | found
    return found


def reckons(script: str, start: int, end: int) -> bool:
    """Whether bash reckons with what stands there, though it is outside of `$(( ))`."""
    before = script[max(0, start - LOOK_BACK) : start]
    if RECKONS_BEFORE.search(before):
        return True
    return re.search(r"\[\[[^\n]*\Z", before) is not None and RECKONS_AFTER.match(script, end) is not None


def subscript(script: str, start: int) -> bool:
    """Whether it stands in an array's subscript, which bash expands once more when the array is an indexed one."""
    return SUBSCRIPT.search(script[max(0, start - LOOK_BACK) : start]) is not None
