"""Command templates, really run by bash: values arrive as they are, and none of them is ever executed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuners.tools import templates
from tuners.tools.templates import UnsafeValue
from tunesmith.domain import CommandTool, Scalar
from tunesmith.services.templates import slips
from tunesmith.testing.factories import spec

EVIL = """it's a "b" `touch pwned` $(touch pwned); touch pwned\n* EOF ${HOME} \\ -e é\t| a[$(touch pwned)] 日本 end"""


def run(template: str, params: Mapping[str, Scalar], declared: list[str] | None = None) -> str:
    """What the rendered template prints; fails when anything was executed that is not in the template."""
    names = list(params) if declared is None else declared
    script = templates.render(template, names, params)
    with TemporaryDirectory() as directory:
        path = Path(directory, "script.sh")
        path.write_text(script, encoding="utf-8")
        env = {"PATH": os.environ["PATH"], "HOME": "/nowhere"} | templates.environment(names, params)
        command = [*templates.interpreter(template), str(path)]
        done = subprocess.run(command, cwd=directory, env=env, capture_output=True, timeout=20, check=False)
        assert sorted(os.listdir(directory)) == ["script.sh"], f"something was executed: {script}"
    return done.stdout.decode()


# Substitution: which dollars are ours


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("echo ${x} $x", "7 7"),
        ("echo $xy.${xy}.", ".."),
        ("echo $x.y $x-y $x/y", "7.y 7-y 7/y"),
        ("echo ${x:-1} ${unset:-1} ${#x}", "1 1 0"),
        ("echo $(( ${x} + ${y} ))", "4"),
        ("echo $(( ${x}-$y )) $((5-${y}))", "10 8"),
        ("echo \\${x} \\$x", "${x} $x"),
        ("echo \\\\${x}", "\\7"),
        ("echo '$(' '$x' '${x}'", "$( 7 7"),
        ("set -- a b; echo $1 $2 $# $@ $*", "a b 2 a b a b"),
        ("for i in {1..${x}}; do echo -n $i; done", "1234567"),
        ("x=bash; echo $X ${X:-none}", "none"),
        ("echo ${x}>out; cat out; rm out", "7"),
        ("[[ ${x} -gt 5 && $x == 7 ]] && echo yes", "yes"),
        ("echo $'a\\t${x}'", "a\t7"),
        ("echo '$$x'", "$$x"),
        ("echo '\\${x}' '\\\\${x}' \\$$x", "\\${x} \\\\7 $7"),
    ],
)
def test_only_declared_parameters_are_substituted(template: str, printed: str) -> None:
    assert run(template, {"x": 7, "y": -3}).strip() == printed


def test_a_double_dollar_is_the_process_id() -> None:
    pid, with_x, after = run("echo $$ $$x $$$x", {"x": 7}).split()
    assert pid.isdigit()
    assert with_x == f"{pid}x"
    assert after == f"{pid}7"


def test_names_may_be_beginnings_of_one_another() -> None:
    assert run("echo $a $ab ${abc} $abcd.", {"a": 1, "ab": 2, "abc": 3}).strip() == "1 2 3 ."


def test_names_may_differ_in_case_only() -> None:
    params = {"lr": "a b", "LR": "c d", "n": "e f"}
    assert run("printf '%s,' ${lr} ${LR} ${n}", params) == "a b,c d,e f,"
    assert templates.variable_names(list(params)) == {
        "lr": "TUNESMITH_PARAM_lr",
        "LR": "TUNESMITH_PARAM_LR",
        "n": "TUNESMITH_PARAM_N",
    }


def test_the_environment_holds_the_parameters() -> None:
    assert run("echo $TUNESMITH_PARAM_RATE ${TUNESMITH_PARAM_NAME}", {"rate": 0.5, "name": EVIL}).startswith(
        "0.5 it's a"
    )


def test_an_inactive_parameter_stands_for_nothing() -> None:
    assert run("printf '[%s]' a ${level} \"${level}\" '${level}'", {"codec": "gzip"}, ["codec", "level"]) == "[a][][]"
    assert run("echo $(( ${level} + 1 )) ${TUNESMITH_PARAM_LEVEL-unset}", {}, ["level"]).strip() == "1 unset"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"), (-7, "-7"), (2**53, "9007199254740992"), (0.1, "0.1"), (1e-05, "1e-05"), (1e22, "1e+22"),
        (0.1 + 0.2, "0.30000000000000004"), (True, "true"), (False, "false"), (None, "null"), ("", ""),
    ],
)  # fmt: skip
def test_scalars_are_written_as_in_json(value: Scalar, text: str) -> None:
    assert run("printf %s ${x}", {"x": value}) == text
    assert run("printf %s \"${x}\"'${x}'", {"x": value}) == text + text
    assert run('printf %s "$TUNESMITH_PARAM_X"', {"x": value}) == text


# Quoting: what arrives where

EXACT = {
    "a word": "printf %s ${x}",
    "a bare name": "printf %s $x",
    "double quotes": 'printf %s "${x}"',
    "single quotes": "printf %s '${x}'",
    "ANSI-C quotes": "printf %s $'${x}'",
    "an assignment": 'v=${x}; printf %s "$v"',
    "a substitution": 'v=$(printf %s. ${x}); printf %s "${v%.}"',
    "a quoted substitution": 'v="$(printf %s. "${x}")"; printf %s "${v%.}"',
    "backticks": 'v=`printf %s. ${x}`; printf %s "${v%.}"',
    "a case": "case a in a) printf %s ${x};; esac",
    "a case in a substitution": 'v="$(case a in b) ;; (a) printf %s. ${x};; esac)"; printf %s "${v%.}"',
    "after a case in a substitution": 'v="$(case a in a) :;; esac)"; printf %s "${x}"',
    "after a comment with a quote": "# it's\nprintf %s ${x}",
    "after a comment in a substitution": "v=$( # it's )\n:)\nprintf %s ${x}",
    "a default": "printf %s ${unset:-${x}}",
    "a quoted default": 'printf %s "${unset:-${x}}"',
    "a subshell": "( (:); printf %s ${x} )",
    "a function": "f() { printf %s ${x}; }\nf",
    "an array": 'a=(1 ${x}); printf %s "${a[1]}"',
    "after a shift in arithmetic": "v=$((1 << 2))\nprintf %s ${x}",
    "a here-string": "head --bytes=-1 <<< ${x}",
    "after a shell": "bash -c : && eval : ; printf %s ${x}",
    "after a sourced file": ". /dev/null\nprintf %s ${x} | cat",
    "a pipeline": "printf %s ${x} |\n cat",
    "an exported variable": 'export V=${x}; printf %s "$V"',
    "after a here-document": "cat >/dev/null <<'E'\n'\"`$(\nE\nprintf %s ${x}",
    "a test": '[[ "${x}" == ${x} ]] && printf %s ${x}',
}
DOCUMENTS = {
    "a here-document": "cat <<EOF\n${x}\nEOF\n",
    "a here-document with quotes": "cat <<EOF\n'${x}\"\nEOF\n",
    "an indented here-document": "cat <<-EOF\n\t${x}\n\tEOF\n",
    "a quoted here-document": "cat <<'EOF'\n${x}\nEOF\n",
    "a quoted, indented here-document": 'cat <<-"EOF"\n\t${x}\n\tEOF\n',
    "a here-document in a substitution": 'v="$(cat <<EOF\n${x}\nEOF\n)"; printf "%s\\n" "$v"',
    "two here-documents": "cat - /dev/fd/3 <<A 3<<'B'\n${x}\nA\n${x}\nB\n",
}
ANYWHERE = {
    "arithmetic": "echo $(( ${x} + 1 ))",
    "old arithmetic": "echo $[ ${x} + 1 ]",
    "an arithmetic command": "(( ${x} > 1 )) && echo yes",
    "an arithmetic loop": "for ((i = ${x}; i < 1; i++)); do echo $i; break; done",
    "a comparison": "[[ ${x} -eq 1 ]] && echo yes",
    "the other side of a comparison": '[[ 1 -lt "${x}" ]] && echo yes',
    "an integer variable, later": "declare -i v\nv=${x}",
    "a nested shell": "bash -c 'printf %s ${x}'",
    "a list's subscript": "a=([${x}]=1)",
    "let": "let v=${x}",
    "an integer variable": "declare -i v=${x}; echo $v",
    "a subscript": "a=(1 2); echo ${a[${x}]}",
    "an assigned subscript": "a=(1 2); a[${x}]=3; echo ${a[0]}",
    "an offset": "v=abc; echo ${v:${x}} ${v:0:${x}}",
    "a comment": "echo a # ${x}\necho b",
    "a pattern": "case ${x} in ${x}) echo same;; esac",
    "an unquoted substitution": "echo $(printf %s ${x})",
    "a nested shell's words": 'bash -c "echo \\"${x}\\""',
    "a quoted here-document in backticks": "echo `cat <<'EOF'\n${x}\nEOF\n`",
    "a quoted here-document in quotes": "bash -c 'cat <<\"EOF\"\n${x}\nEOF\n'",
    "what is no quoting at all": 'echo "$(( ${x} ))" \'${x} `${x}` "${x}',
    "a regular expression": "[[ abc =~ ${x} ]] && echo yes",
    "a redirection": "cat < ./none/${x}",
}
FRAGMENTS = [
    "'", '"', "\\", "\n", "$(touch pwned)", "`touch pwned`", "; touch pwned", "*", "?", "~", "-n", "é", "日本", "\t",
    "EOF", "\nEOF\n", "E", "${x}", "$x", "#", "{a,b}", "!", "a[$(touch pwned)]", ")", "))", "]", "|", "&", ">pwned",
    "<<EOF", "%s", "x", "1", " ",
]  # fmt: skip
values = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)


@pytest.mark.parametrize("place", EXACT)
def test_a_hostile_value_arrives_as_it_is(place: str) -> None:
    assert run(EXACT[place], {"x": EVIL}) == EVIL


@given(st.sampled_from(sorted(EXACT)), values)
@settings(max_examples=250)
def test_any_text_arrives_as_it_is_where_quoting_lets_it(place: str, text: str) -> None:
    assert run(EXACT[place], {"x": text}) == text


@pytest.mark.parametrize("place", DOCUMENTS)
def test_a_hostile_value_arrives_in_a_here_document(place: str) -> None:
    printed = run(DOCUMENTS[place], {"x": EVIL})
    assert printed.count(EVIL) == (2 if "two" in place else 1)


@given(st.sampled_from(sorted(DOCUMENTS)), values)
@settings(max_examples=100)
def test_any_text_arrives_in_a_here_document_or_is_refused(place: str, text: str) -> None:
    assume(not ("substitution" in place and text.endswith("\n")))  # bash drops newlines there
    assume(not ("quoted, indented" in place and "\t" in text))  # ... and tabs there
    try:
        printed = run(DOCUMENTS[place], {"x": text})
    except UnsafeValue:
        assert "EOF" in text or "B" in text
    else:
        assert text in printed


@pytest.mark.parametrize("place", ANYWHERE)
def test_a_hostile_value_is_executed_nowhere(place: str) -> None:
    for text in (
        EVIL,
        "a[$(touch pwned)]",
        "$(touch pwned)",
        "1); touch pwned; (",
        "'; touch pwned; '",
        "\nEOF\ntouch pwned",
    ):
        try:
            run(ANYWHERE[place], {"x": text})
        except UnsafeValue as error:
            assert "x=" in str(error) or "'x'" in str(error)  # noqa: PT017  (both ways are fine)


AGAIN = [
    "eval echo ${p}", "eval x='${p}'", 'eval x="${p}"', 'echo; eval "x=${p}"', "trap \"echo ${p}\" EXIT",
    "trap 'echo ${p}' EXIT", 'bash -c "echo ${p}"', "bash -c 'echo ${p}'", 'bash --norc -c "echo ${p}"',
    'bash -O extglob -c "echo ${p}"', "bash -c -- 'echo ${p}'", "bash -c $'echo ${p}'", "/bin/sh -c 'echo ${p}'",
    '"$BASH" -c "echo ${p}"', "su -c \"echo ${p}\"", "env bash -c 'echo ${p}'", "bash <<EOF\necho ${p}\nEOF\n",
    "cat <<EOF | bash\necho ${p}\nEOF\n", "cat <<EOF |\n${p}\nEOF\n  bash", "cat <<'EOF' | bash\necho ${p}\nEOF\n",
    'bash <<< "echo ${p}"', 'echo "echo ${p}" | bash', 'echo "echo ${p}" |\n\n# a comment\n bash',
    "echo ${p} | xargs -I@ bash -c @",
    "source <(echo ${p})", ". <(echo ${p})", "true && . <(echo ${p})", "bash <(echo ${p})", "echo ${p} > >(bash)",
    "{ echo a; echo ${p}; } | bash", "for i in 1; do\n echo ${p}\ndone | bash", "if true; then echo ${p}; fi | bash",
    "( echo a; echo ${p} ) | bash", "{ cd .; bash; } <<EOF\n${p}\nEOF\n", "exec > >(bash)\necho ${p}",
    "echo `eval echo ${p}`", 'v="$(eval echo ${p})"', "cat <<EOF\n$(eval echo ${p})\nEOF\n",
    "eval \\\n echo ${p}",
    "[[ -v ${p} ]]", "[[ a == a && -v ${p} ]]", "[[ a == a &&\n -v ${p} && b ]]", "[[ a || 1 -eq ${p} ]]",
    "test -v ${p}", "[ -v ${p} ]", "printf -v ${p} 1", "read ${p} <<< 1",
    "declare -n r=${p}; echo $r",
    "declare -n r; r=${p}; echo $r", "declare -i v; v=${p}", "declare ${p}=1", "let ${p}=1",
    "f() { local ${p}=1; }; f", "readonly ${p}=1", "mapfile ${p} <<< 1", "a=(1); unset a ${p}", "let v=${p}",
    "[[ 1 -eq ${p} ]]", "python3 -c \"import os; '${p}'\"", "python3 <<EOF\nimport os\n'${p}'\nEOF\n",
    "awk 'BEGIN { x = \"${p}\" }'", "echo a | sed 's/a/${p}/'",
]  # fmt: skip


@pytest.mark.parametrize("template", AGAIN)
def test_a_value_is_refused_where_a_command_would_parse_it_again(template: str) -> None:
    for value in (
        "$(touch PWN)",
        "x[$(touch PWN)]",
        "`touch PWN`",
        "'; touch PWN; '",
        "/;e touch PWN;#",
        '"; touch PWN #',
    ):
        with pytest.raises(UnsafeValue, match=r"^p="):
            run(template, {"p": value})


@pytest.mark.parametrize("template", AGAIN)
def test_a_harmless_value_is_refused_nowhere(template: str) -> None:
    for value in ("gzip-9", "a/b.txt", 7, -0.5, True, None, ""):
        if "1 -eq" in template or template.startswith("let"):
            value = 3
        assert templates.render(template, ["p"], {"p": value}).strip()


def test_the_message_of_a_refused_value_says_what_to_do() -> None:
    with pytest.raises(UnsafeValue) as refused:
        templates.render("echo ${p} | bash", ["p"], {"p": "a b"})
    assert str(refused.value) == (
        "p='a b' cannot be put into a command that has 'bash' in it, which may run it as code: let what is run there "
        'read "$TUNESMITH_PARAM_P", or use only letters, digits and _ @ % + = : , . / -'
    )


@given(st.sampled_from(sorted(ANYWHERE)), values)
@settings(max_examples=200)
def test_no_text_is_executed_anywhere(place: str, text: str) -> None:
    try:
        run(ANYWHERE[place], {"x": text})
    except UnsafeValue:
        assert not text.isdigit()


def test_the_delimiter_of_a_here_document_does_not_end_it() -> None:
    assert run("cat <<EOF\n${a}\n${b}\nEOF\n", {"a": "EOF", "b": "./pwned"}) == "EOF\n./pwned\n"
    with pytest.raises(UnsafeValue, match="would end the here-document 'EOF'; rename"):
        run("cat <<'EOF'\n${a}\n${b}\nEOF\n", {"a": "EOF", "b": "./pwned"})


def test_a_name_of_another_value_is_not_reckoned_with() -> None:
    with pytest.raises(UnsafeValue, match="is no number"):
        run("echo $(( ${x} ))", {"x": "TUNESMITH_PARAM_Y", "y": "a[$(touch pwned)]"})
    assert run("echo $(( ${x} ))", {"x": "3 * (2 + 0x10)"}).strip() == "54"


def test_quoting_works_in_sh_too() -> None:
    template = "#!/bin/sh\nprintf %s ${x}'${x}'\"${x}\""
    assert run(template, {"x": EVIL}) == EVIL * 3


# Other interpreters


@pytest.mark.parametrize(
    ("template", "command"),
    [
        ("sleep 1", ["bash"]),
        ("#!/bin/sh -e\n", ["/bin/sh", "-e"]),
        ("#!/usr/bin/env python3\nprint(1)", ["/usr/bin/env", "python3"]),
        ("#! /bin/bash\r\necho", ["/bin/bash"]),
        ("#!\necho", ["bash"]),
        ("#!/bin/bash # don't\necho", ["/bin/bash", "#", "don't"]),
        (" #!/bin/sh\n", ["bash"]),
    ],
)
def test_the_interpreter_is_that_of_the_first_line(template: str, command: list[str]) -> None:
    assert templates.interpreter(template) == command


def test_a_python_script_takes_harmless_values() -> None:
    template = "#!/usr/bin/env python3\nprint(${x} + 1, '${codec}', $n, '$$x', '${other}')"
    assert run(template, {"x": 0.5, "codec": "gzip-9", "n": -3}).strip() == "1.5 gzip-9 -3 $$x ${other}"


def test_a_python_script_reads_other_values_from_the_environment() -> None:
    with pytest.raises(UnsafeValue, match="environment variable TUNESMITH_PARAM_X"):
        run("#!/usr/bin/env python3\nprint('${x}')", {"x": "'); open('pwned', 'w'); ('"})
    template = "#!/usr/bin/env python3\nimport os\nprint(os.environ['TUNESMITH_PARAM_X'])"
    assert run(template, {"x": EVIL}).strip() == EVIL


@given(values)
@settings(max_examples=50)
def test_no_text_is_executed_by_another_interpreter(text: str) -> None:
    try:
        run("#!/usr/bin/env python3\nprint('${x}')\n", {"x": text})
    except UnsafeValue:
        assert text


# Robustness


@given(st.text(st.sampled_from("${}x()[]<>'\"`\\\n #;&|EOFcaseindo "), max_size=60))
@settings(max_examples=300)
def test_any_template_can_be_rendered(template: str) -> None:
    assert templates.render(template, ["y"], {"y": 1}) == template
    templates.render(template + "${x}", ["x"], {"x": 1})


def test_a_template_without_holes_is_untouched() -> None:
    script = "awk '{print $1}' <<'EOF' | sed \"s/$(date)/${v}/\"\n$$ ${10} \\$x\nEOF\n"
    assert templates.render(script, ["x", "y"], {"x": "a b", "y": 1}) == script


def test_a_long_template_is_rendered_fast() -> None:
    import time

    script = "echo ${x} 'a' \"b $(c)\" # d\ncat <<E\n${x}\nE\n" * 10_000
    begun = time.thread_time()
    templates.render(script, ["x"], {"x": "a b"})
    first = time.thread_time() - begun
    templates.render(script, ["x"], {"x": "c d"})
    assert time.thread_time() - begun - first < first
    assert first < 20


# Slips


@pytest.mark.parametrize("expansion", ["${x:-9}", "${x%.*}", "${#x}", "${!x}", "${x:-${n}}", "${x[0]}"])
def test_an_expansion_of_a_parameter_that_is_left_to_bash_is_told(expansion: str) -> None:
    wanted = spec(tool=CommandTool(command=f"echo {expansion}"))
    assert slips(wanted) == (f"`{expansion}` is left to bash, where x is not set; write ${{x}}",)


@pytest.mark.parametrize("template", ["echo ${x} $x", "x=${x}; echo ${x:-9}", "echo \\${x:-9}", "echo ${other:-9}"])
def test_other_expansions_are_no_slips(template: str) -> None:
    assert slips(spec(tool=CommandTool(command=template))) == ()
