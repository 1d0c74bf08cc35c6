"""Typed parameters: what is taken, what is refused and in which words, and what a class may declare."""

from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tunesmith import InvalidParameter
from tunesmith.scenarios import (
    Algorithm,
    Boolean,
    Enum,
    Float,
    Integer,
    Interval,
    MultiEnum,
    ParameterType,
    String,
    Time,
)

START, END = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 16, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


class Everything(Algorithm):
    """One parameter of each type."""

    label = String(default="none")
    count = Integer(default=3, min=1, max=60, description="how many")
    rate = Float(default=0.5, min=0)
    strict = Boolean(default=False)
    mode = Enum(["fast", "exact"], default="fast")
    zones = MultiEnum(["a", "b", "c"], default=["b"])
    begin = Time(default="2026-03-01T08:00:00Z")
    shift = Interval(default=(START, END))

    def run(self, data: Any, progress: Any) -> Any:
        return self.label


DEFAULTS: dict[str, JsonValue] = {
    "label": "none", "count": 3, "rate": 0.5, "strict": False, "mode": "fast", "zones": ["b"],
    "begin": "2026-03-01T08:00:00Z", "shift": ["2026-03-01T08:00:00Z", "2026-03-01T16:00:00Z"],
}  # fmt: skip


class TestSettling:
    def test_the_defaults_are_filled_in_as_json(self) -> None:
        assert Everything.settle({}) == DEFAULTS
        assert list(Everything.settle({})) == list(DEFAULTS)

    @pytest.mark.parametrize(
        ("name", "given", "settled"),
        [
            ("label", "", ""),
            ("count", 60, 60),
            ("count", 5.0, 5),
            ("count", np.int64(7), 7),
            ("rate", 1, 1.0),
            ("rate", np.float64(0.25), 0.25),
            ("strict", True, True),
            ("mode", "exact", "exact"),
            ("zones", [], []),
            ("zones", ("c", "a"), ["c", "a"]),
            ("begin", "2026-03-01", "2026-03-01T00:00:00"),
            ("begin", "2026-03-01T08:00:00.5+02:00", "2026-03-01T08:00:00.500000+02:00"),
            ("begin", END, "2026-03-01T16:00:00Z"),
            ("shift", ["2026-01-01", "2026-01-02"], ["2026-01-01T00:00:00", "2026-01-02T00:00:00"]),
            ("shift", "2026-01-01/2026-01-02", ["2026-01-01T00:00:00", "2026-01-02T00:00:00"]),
        ],
    )
    def test_a_value_has_one_json_form(self, name: str, given: Any, settled: JsonValue) -> None:
        found = Everything.settle({name: given})
        assert found == DEFAULTS | {name: settled}
        assert type(found[name]) is type(settled)

    @pytest.mark.parametrize(
        ("name", "given", "message"),
        [
            ("label", 5, "Everything.label: 5 is no text; give a text"),
            ("label", None, "Everything.label: null is no text; give a text"),
            ("count", "5", 'Everything.count: "5" is no integer; give an integer from 1 to 60'),
            ("count", True, "Everything.count: true is no integer; give an integer from 1 to 60"),
            ("count", 1.5, "Everything.count: 1.5 is no integer; give an integer from 1 to 60"),
            ("count", math.nan, "Everything.count: NaN is no integer; give an integer from 1 to 60"),
            ("count", 0, "Everything.count: 0 is below 1; give an integer from 1 to 60"),
            ("count", 61, "Everything.count: 61 is above 60; give an integer from 1 to 60"),
            ("rate", "0.5", 'Everything.rate: "0.5" is no number; give a number of at least 0'),
            ("rate", math.inf, "Everything.rate: Infinity is no finite number; give a number of at least 0"),
            ("rate", -0.1, "Everything.rate: -0.1 is below 0; give a number of at least 0"),
            ("strict", 1, "Everything.strict: 1 is neither true nor false; give true or false"),
            ("mode", "fats", ("Everything.mode: \"fats\" is none of the choices (did you mean 'fast'?); "
                             'give one of "fast", "exact"')),
            ("zones", "a", 'Everything.zones: "a" is no list; give a list of some of "a", "b", "c"'),
            ("zones", ["a", "a"], ('Everything.zones: ["a", "a"] has one of them twice; '
                                  'give a list of some of "a", "b", "c"')),
            ("begin", "noon", ('Everything.begin: "noon" is no time; '
                              "give a time in ISO 8601, for instance 2026-03-01T08:00:00Z")),
            ("shift", ["2026-01-02"], ('Everything.shift: ["2026-01-02"] is no pair of times; give a start and an end, '
                                      'for instance ["2026-03-01T08:00:00Z", "2026-03-01T16:00:00Z"]')),
        ],
    )  # fmt: skip
    def test_a_refusal_names_the_parameter_the_value_and_the_remedy(self, name: str, given: Any, message: str) -> None:
        with pytest.raises(InvalidParameter) as refusal:
            Everything.settle({name: given})
        assert refusal.value.message == message
        assert refusal.value.details == {"parameter": name}

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (["2026-01-02T00:00:00", "2026-01-01T00:00:00"], "starts at 2026-01-02T00:00:00, after its end"),
            (["2026-01-01T00:00:00Z", "2026-01-02T00:00:00"], "one end has a time zone and the other has none"),
            (["2026-01-01", 5], "5 is no time"),
            ({"start": "2026-01-01", "end": "2026-01-02"}, "is no pair of times"),
        ],
    )
    def test_an_interval_that_is_none_is_refused(self, given: Any, reason: str) -> None:
        with pytest.raises(InvalidParameter, match=reason):
            Everything.settle({"shift": given})

    def test_an_unknown_parameter_is_told_the_nearest_one(self) -> None:
        with pytest.raises(InvalidParameter, match=r'has no parameter "cuont" \(did you mean \'count\'\?\); it takes'):
            Everything.settle({"cuont": 5})

    @pytest.mark.parametrize("values", [["count", 5], "count", 5, None])
    def test_parameters_are_an_object(self, values: Any) -> None:
        with pytest.raises(InvalidParameter, match="give an object of name: value"):
            Everything.settle(values)

    @pytest.mark.parametrize("text", ["a\0b", "\ud800"])
    def test_what_no_database_can_hold_is_no_text(self, text: str) -> None:
        with pytest.raises(InvalidParameter, match="holds what is no character") as refusal:
            Everything.settle({"label": text})
        refusal.value.message.encode()

    def test_choices_of_numbers_are_matched_as_json_does(self) -> None:
        alpha = Enum([0.1, 1.0, True], default=1.0)
        assert repr(alpha.parse(1)) == "1.0"
        assert alpha.parse(True) is True
        assert [type(choice) for choice in MultiEnum([1, True], default=[]).parse([True, 1])] == [bool, int]
        with pytest.raises(ValueError, match="none of the choices"):
            Enum([1, 2]).parse(True)

    @given(st.sampled_from(sorted(DEFAULTS)), JSON)
    def test_any_json_is_settled_or_refused_by_name(self, name: str, value: Any) -> None:
        refusal, settled = None, DEFAULTS
        try:
            settled = Everything.settle({name: value})
        except InvalidParameter as error:
            refusal = error
        if refusal is None:
            assert Everything.settle(json.loads(json.dumps(settled, allow_nan=False))) == settled
        else:
            assert refusal.message.startswith(f"Everything.{name}: ")
            json.dumps(refusal.body(), allow_nan=False, ensure_ascii=False).encode()

    @given(st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))])))
    def test_a_time_survives_json(self, moment: datetime) -> None:
        time = Time()
        assert time.parse(json.loads(json.dumps(time.to_json(moment)))) == moment

    @given(st.integers())
    def test_an_integer_stays_the_same_however_large(self, number: int) -> None:
        assert Integer().parse(number) == number

    @given(st.integers(), st.integers(), st.integers())
    def test_a_range_holds_its_ends_and_what_lies_between(self, low: int, high: int, number: int) -> None:
        low, high = min(low, high), max(low, high)
        parameter = Integer(min=low, max=high)
        assert parameter.parse(low) == low
        assert parameter.parse(high) == high
        if low <= number <= high:
            assert parameter.parse(number) == number
        else:
            with pytest.raises(ValueError, match=r"is below|is above"):
                parameter.parse(number)


class TestRequired:
    class Needy(Algorithm):
        size = Integer(min=1)
        until = Time(default=None)

        def run(self, data: Any, progress: Any) -> Any:
            return self.size, self.until

    def test_a_required_parameter_must_be_given(self) -> None:
        with pytest.raises(InvalidParameter, match=r"^Needy.size is required; give an integer of at least 1$"):
            self.Needy.settle({})
        assert self.Needy.settle({"size": 2}) == {"size": 2, "until": None}

    def test_its_value_cannot_be_read_before_it_was_given(self) -> None:
        with pytest.raises(AttributeError, match=r"Needy.size has no value; it is required"):
            self.Needy().run(None, None)

    def test_one_that_may_be_left_open_is_none(self) -> None:
        assert self.Needy.make({"size": 1, "until": None}).run(None, None) == (1, None)


class TestMaking:
    def test_the_algorithm_sees_values_of_python(self) -> None:
        made = Everything.make({"begin": "2026-03-01T16:00:00Z", "zones": ["a"], "shift": [*DEFAULTS["shift"]]})  # type: ignore[misc]
        assert (made.begin, made.zones, made.shift) == (END, ("a",), (START, END))
        assert (made.count, made.rate) == (3, 0.5)

    def test_two_of_them_share_nothing(self) -> None:
        first, second = Everything.make({"count": 1}), Everything.make({"count": 2})
        assert (first.count, second.count, Everything().count) == (1, 2, 3)

    def test_init_sees_the_values(self) -> None:
        class Prepared(Everything):
            def __init__(self) -> None:
                self.doubled = self.count * 2

        assert Prepared.make({"count": 4}).doubled == 8

    def test_the_class_gives_its_declarations(self) -> None:
        assert isinstance(Everything.count, Integer)
        assert list(Everything.parameters()) == list(DEFAULTS)


class TestInheritance:
    def test_parameters_of_bases_and_mixins_are_inherited_and_may_be_declared_anew(self) -> None:
        class Seeded:
            seed = Integer(default=0)

        class Wider(Everything, Seeded):
            count = Integer(default=100, max=1000)
            extra = Float(default=1.0)

        assert list(Wider.parameters()) == ["seed", *DEFAULTS, "extra"]
        assert Wider.settle({"count": 1000})["count"] == 1000
        assert Everything.settle({})["count"] == 3

    def test_an_attribute_that_is_no_parameter_fixes_the_value(self) -> None:
        class Fixed(Everything):
            count = 7  # type: ignore[assignment]

        assert Fixed.make({}).count == 7
        with pytest.raises(InvalidParameter, match='has no parameter "count"'):
            Fixed.settle({"count": 5})

    def test_a_subclass_has_a_name_of_its_own(self) -> None:
        class Named(Everything):
            name = "called otherwise"

        class Child(Named):
            pass

        assert (Everything.name, Named.name, Child.name) == ("Everything", "called otherwise", "Child")


class TestDescriptors:
    @pytest.mark.parametrize(
        ("parameter", "descriptor"),
        [
            (String(), {"type": "string", "required": True, "value": None, "default": None}),
            (Integer(default=1, min=1, max=60), {"type": "integer", "required": False, "value": 1, "default": 1,
                                                 "min": 1, "max": 60}),
            (Float(default=None), {"type": "float", "required": False, "value": None, "default": None,
                                   "min": None, "max": None}),
            (Boolean(default=True), {"type": "boolean", "required": False, "value": True, "default": True}),
            (Enum(["a", "b"], default="b"), {"type": "enum", "required": False, "value": "b", "default": "b",
                                             "choices": ["a", "b"]}),
            (MultiEnum(["a", "b"], default=("b",)), {"type": "multi_enum", "required": False, "value": ["b"],
                                                     "default": ["b"], "choices": ["a", "b"]}),
            (Time(default=START), {"type": "time", "required": False, "value": "2026-03-01T08:00:00Z",
                                   "default": "2026-03-01T08:00:00Z"}),
            (Interval(default=(START, END)), {"type": "interval", "required": False, "value": DEFAULTS["shift"],
                                              "default": DEFAULTS["shift"]}),
            (Boolean(default=True, description="why"), {"type": "boolean", "required": False, "value": True,
                                                        "default": True, "description": "why"}),
        ],
    )  # fmt: skip
    def test_a_descriptor_is_json_and_says_it_all(
        self, parameter: ParameterType[Any], descriptor: dict[str, JsonValue]
    ) -> None:
        assert parameter.descriptor("p") == {"name": "p", **descriptor}
        assert json.loads(json.dumps(parameter.descriptor("p"))) == parameter.descriptor("p")

    def test_a_value_can_be_another_one_than_the_default(self) -> None:
        described = Integer(default=1).descriptor("p", value=5)
        assert (described["value"], described["default"]) == (5, 1)


class TestDeclarations:
    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (lambda: Integer(min=5, max=1), "min 5 is above max 1; swap them"),
            (lambda: Integer(default=61, max=60), "the default 61 is above 60; take an integer of at most 60"),
            (lambda: Integer(default="5"), 'the default "5" is no integer'),  # type: ignore[arg-type]
            (lambda: Integer(min=True), "min: true is no integer"),
            (lambda: Float(max=math.nan), "max: NaN is no finite number"),
            (lambda: Enum([]), "there is nothing to choose from"),
            (lambda: Enum("ab"), "there is nothing to choose from"),
            (lambda: Enum(["a", "a"]), "a choice stands there twice"),
            (lambda: Enum([["a"]]), "is no choice"),  # type: ignore[type-var]
            (lambda: Enum(["a"], default="b"), 'the default "b" is none of the choices'),
            (lambda: Time(default="noon"), 'the default "noon" is no time'),
            (lambda: Interval(default=(END, START)), "after its end"),
        ],
    )
    def test_a_declaration_that_contradicts_itself_is_refused_at_once(self, made: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message) as refusal:
            made()
        assert str(refusal.value).startswith(("Integer(", "Float(", "Enum(", "Time(", "Interval("))

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"size": Integer}, r"Bad.size is a type of parameter, not a parameter; write size = Integer\(\)"),
            ({"run": Integer()}, "Bad.run has a meaning of its own"),
            ({"name": String()}, "Bad.name"),
            ({"größe": Integer()}, "Bad.größe is no name of a parameter"),
            ({"_size": Integer()}, "Bad._size is no name of a parameter"),
            ({"name": ""}, "Bad.name is ''"),
            ({"name": "a/b"}, "Bad.name is 'a/b'; give a text of 1 to 200 characters, without a slash"),
            ({"timeout_s": 0}, "Bad.timeout_s is 0; give a number of seconds above 0, or None"),
            ({"run": lambda self, data: None}, r"takes other arguments; write def run\(self, data, progress\)"),
            ({"run": 5}, "Bad.run must be a plain method"),
        ],
    )
    def test_a_class_that_declares_something_wrong_cannot_be_made(
        self, attributes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            type("Bad", (Algorithm,), attributes)

    def test_a_coroutine_is_no_run(self) -> None:
        async def run(self: Any, data: Any, progress: Any) -> None: ...

        with pytest.raises(ValueError, match="must be a plain method"):
            type("Bad", (Algorithm,), {"run": run})

    def test_an_algorithm_without_run_is_one_to_derive_from(self) -> None:
        class Base(Algorithm):
            timeout_s: ClassVar[float | None] = 5
            size = Integer(default=1)

        with pytest.raises(TypeError, match="abstract"):
            Base()  # type: ignore[abstract]

    def test_declarations_are_values(self) -> None:
        assert Enum(["a", "b"], default="a") == Enum(("a", "b"), default="a")
        assert pickle.loads(pickle.dumps(Interval(default=(START, END)))) == Interval(default=(START, END))
        assert pickle.loads(pickle.dumps(Integer())).required
