"""Where in a shell script a position lies (in a plain word, in quotes, in a here-document, ...), and in which command.

A small lexer of bash. Where it guesses wrong, a value is split into words or stays a variable's name: what is put there
is a reference to a variable, which bash does not parse again by itself (commands.py knows what makes it do so).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto


class Place(Enum):
    """What surrounds a position."""

    WORD = auto()
    DOUBLE = auto()
    SINGLE = auto()
    #: inside $'...'
    ANSI = auto()
    #: a here-document that bash expands
    HEREDOC = auto()
    #: a here-document with a quoted delimiter, which bash leaves alone
    VERBATIM = auto()
    ARITHMETIC = auto()
    COMMENT = auto()


@dataclass
class Frame:
    """Something that was opened and is not closed yet."""

    closer: str
    """What closes it: `)`, a backtick, a quote, `}`, `))`, `]`, or nothing."""
    place: Place = Place.WORD
    command: bool = False
    """Whether commands stand in it."""
    own_word: bool = False
    """Whether it is a list of commands by itself, as `( ... )` is, and no part of a word, as `$( ... )` is."""
    start: bool = True
    """Whether a command may start here."""
    cases: int = 0
    """Open `case`s, whose patterns end in an unpaired `)`."""
    parentheses: int = 0
    """Open parentheses in arithmetic."""


@dataclass(frozen=True)
class Document:
    """The text of a here-document with a quoted delimiter."""

    start: int
    end: int
    delimiter: str
    fragile: bool
    """Whether it stands inside of quotes, which a value's own quotes would end."""


QUOTES = (Place.DOUBLE, Place.HEREDOC)
BEFORE_COMMANDS = frozenset({"then", "do", "else", "elif", "if", "while", "until", "time", "case", "esac"})
OPERATOR = re.compile(
    r"""<<(-?)[ \t]*((?:'[^'\n]*'|"[^"\n]*"|\\.|[^\s'"\\;&|<>()$`])+)""",
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LOOK_BACK = 200
"""Characters before a position that are looked at for a `for`."""


class Lexer:
    """Finds the place of every character of a script, and the number of the command that it belongs to.

    A command is an element of the outermost list: a whole pipeline, with its here-documents and all that is nested.
    """

    def __init__(self, script: str, outermost: Frame | None = None) -> None:
        self.script = script
        self.places: list[Place] = [Place.WORD] * len(script)
        self.commands: list[int] = [0] * len(script)
        self.documents: list[Document] = []
        self.frames = [outermost or Frame("", command=True, own_word=True)]
        self.pending: list[tuple[str, bool, bool, int]] = []
        self.index = self.command = 0
        self.piped = self.tests = False
        while self.index < len(script):
            begin, outside = self.index, len(self.frames) == 1
            self._step()
            self._attribute(begin, outside and len(self.frames) == 1)

    def _attribute(self, begin: int, outside: bool) -> None:
        """Note which command the step belonged to; begin the next one after an operator of the outermost list."""
        char, before, after = (self.script[i : i + 1] for i in (begin, max(0, begin - 1), begin + 1))
        end = begin + 1 if char == "\n" else self.index  # what follows a newline are here-documents
        self.commands[begin:end] = [self.command] * len(self.commands[begin:end])
        if self.script[begin : begin + 2] in ("[[", "]]") and outside:
            self.tests = char == "["
        redirects = before in "<>" or after == ">" or before == "|"
        ends = char == ";" or (char == "&" and not redirects) or (char == "\n" and not self.piped)
        if outside and ends and not self.tests:
            self.command += 1
        if char not in " \t\n" and self.places[begin] is not Place.COMMENT:
            self.piped = char == "|" or (char == "&" and before == "|")

    def _step(self) -> None:
        top, char = self.frames[-1], self.script[self.index]
        self.places[self.index] = top.place
        if char == "\\" and top.place not in (Place.SINGLE, Place.COMMENT):
            self.places[self.index : self.index + 2] = [top.place] * len(self.script[self.index : self.index + 2])
            top.start = False
            self.index += 2
        elif top.place in (Place.SINGLE, Place.ANSI, Place.COMMENT):
            self._literal(top, char)
        elif not self._expansion(top, char):
            (self._command if top.command else self._other)(top, char)

    def _literal(self, top: Frame, char: str) -> None:
        if char == top.closer:
            self.frames.pop()
            if char == "\n":
                return  # the newline also ends the command
        self.index += 1

    def _expansion(self, top: Frame, char: str) -> bool:
        """What is special in plain text and in double quotes alike."""
        if char == "`":
            self._backtick(top)
            return True
        if char != "$":
            return False
        top.start = False
        here = top.place if top.place in QUOTES else Place.WORD
        for opener, frame in (
            ("$((", Frame("))", Place.ARITHMETIC)),
            ("$[", Frame("]", Place.ARITHMETIC)),
            ("$(", Frame(")", command=True)),
            ("${", Frame("}", here)),
        ):
            if self.script.startswith(opener, self.index):
                self._push(opener, frame)
                return True
        if top.place not in QUOTES and self.script.startswith("$'", self.index):
            self._push("$'", Frame("'", Place.ANSI))
            return True
        self.index += 2 if self.script.startswith("$$", self.index) else 1
        return True

    def _backtick(self, top: Frame) -> None:
        closers = [frame.closer for frame in self.frames]
        if "`" in closers:
            del self.frames[closers.index("`") :]
        else:
            top.start = False
            self.frames.append(Frame("`", command=True))
        self.index += 1

    def _push(self, opener: str, frame: Frame) -> None:
        for offset in range(len(opener)):
            self.places[self.index + offset] = self.frames[-1].place
        self.frames.append(frame)
        self.index += len(opener)

    def _other(self, top: Frame, char: str) -> None:
        """In double quotes, a here-document, `${...}` or arithmetic."""
        if top.place is Place.ARITHMETIC:
            self._arithmetic(top, char)
            return
        if char == top.closer:
            self.frames.pop()
        elif char == '"' and (top.closer == "}" or top.place is Place.WORD):
            self.frames.append(Frame('"', Place.DOUBLE))
        elif char == "'" and top.place is Place.WORD:
            self.frames.append(Frame("'", Place.SINGLE))
        self.index += 1

    def _arithmetic(self, top: Frame, char: str) -> None:
        if char == "(":
            top.parentheses += 1
        elif char == ")" and top.parentheses:
            top.parentheses -= 1
        elif self.script.startswith(top.closer, self.index):
            self.frames.pop()
            self.index += len(top.closer) - 1
        self.index += 1

    def _command(self, top: Frame, char: str) -> None:
        if char in "'\"":
            self._quote(top, char)
        elif char == "\n":
            top.start = True
            self.index += 1
            self._here_documents()
        elif char in ";&|":
            top.start = True
            self.index += 1
        elif char in "()":
            self._parenthesis(top, char)
        elif char == "<" and self.script.startswith("<<", self.index):
            self._redirection()
        elif char in " \t<>":
            self.index += 1
        else:
            self._word(top, char)

    def _quote(self, top: Frame, char: str) -> None:
        top.start = False
        self.frames.append(Frame('"', Place.DOUBLE) if char == '"' else Frame("'", Place.SINGLE))
        self.index += 1

    def _parenthesis(self, top: Frame, char: str) -> None:
        if char == ")" and top.cases:
            top.start = True
            self.index += 1
        elif char == ")":
            if top.closer == ")":
                self.frames.pop()
            if top.own_word:
                self.frames[-1].start = True
            self.index += 1
        elif self.script.startswith("((", self.index) and (top.start or self._after_for()):
            top.start = False
            self._push("((", Frame("))", Place.ARITHMETIC))
        else:
            self._push("(", Frame(")", command=True, own_word=True))

    def _after_for(self) -> bool:
        return re.search(r"\bfor\s*\Z", self.script[max(0, self.index - LOOK_BACK) : self.index]) is not None

    def _word(self, top: Frame, char: str) -> None:
        before = self.script[self.index - 1] if self.index else "\n"
        starts = before in " \t\n;&|()`"
        if char == "#" and starts and before not in ")`":
            self.places[self.index] = Place.COMMENT
            self.frames.append(Frame("\n", Place.COMMENT))
            self.index += 1
            return
        name = NAME.match(self.script, self.index)
        if not starts or name is None:
            top.start = (top.start and char == "!") or (starts and char == "{")
            self.index += 1
            return
        word, alone = name.group(), self.script[name.end() : name.end() + 1] in " \t\n;&|()<>"
        if alone and top.start:
            top.cases = max(0, top.cases + (word == "case") - (word == "esac"))
        top.start = alone and top.start and word in BEFORE_COMMANDS - {"case"}
        self.places[self.index : name.end()] = [top.place] * len(word)
        self.index = name.end()

    def _redirection(self) -> None:
        operator = OPERATOR.match(self.script, self.index)
        if operator is None or self.script.startswith("<<<", self.index):
            self.index += 3 if self.script.startswith("<<<", self.index) else 2
            return
        raw = operator.group(2)
        delimiter = re.sub(r"\\(.)|['\"]", r"\1", raw)
        self.pending.append((delimiter, raw != delimiter, operator.group(1) == "-", self.command))
        self.index = operator.end()

    def _here_documents(self) -> None:
        pending, self.pending = self.pending, []
        fragile = any(frame.closer == "`" for frame in self.frames)
        for delimiter, verbatim, tabs, command in pending:
            start = self.index
            end, after = self._end_of(start, delimiter, tabs)
            self.commands[start:after] = [command] * (after - start)
            if verbatim:
                self.places[start:end] = [Place.VERBATIM] * (end - start)
                self.documents.append(Document(start, end, delimiter, fragile))
            else:
                self.places[start:end] = Lexer(self.script[start:end], Frame("", Place.HEREDOC)).places
            self.index = after if self.script[after : after + 1] == ")" else min(after + 1, len(self.script))

    def _end_of(self, start: int, delimiter: str, tabs: bool) -> tuple[int, int]:
        """Where the line of the delimiter starts, and where it ends."""
        end = r"(?=\)|$)" if self.frames[-1].closer == ")" else "$"
        line = re.compile(("^\t*" if tabs else "^") + re.escape(delimiter) + end, re.MULTILINE)
        found = line.search(self.script, start)
        return found.span() if found else (len(self.script), len(self.script))


def escaped(script: str, position: int) -> bool:
    """Whether an odd number of backslashes stands before it: the template's own rule, the same in every place."""
    first = position
    while first and script[first - 1] == "\\":
        first -= 1
    return (position - first) % 2 == 1


def second_dollar(script: str, position: int) -> bool:
    """Whether the dollar sign there is the second one of a `$$`."""
    first = position
    while first and script[first - 1] == "$" and not escaped(script, first - 1):
        first -= 1
    return (position - first) % 2 == 1
