"""Each operator means what it means to Marathon of that version. Each case says how it follows from ``Constraints.scala``."""

from __future__ import annotations

import msgspec
import pytest

from octopus.core.placement import headroom, reasons
from octopus.core.placement_constraints import Groups, Placed, text_of, value_of
from octopus.core.placement_offers import Offer
from octopus.core.placement_rules import Reason, Text, rules_of
from octopus.core.placement_spread import even
from tests.unit.placement_cases import app, offer, on, racks, view

THREE = (offer("a", 2, rack="r1"), offer("b", 2, rack="r1"), offer("c", 2, rack="r2"))
"""Two CPUs on each of three hosts in two racks: six instances without constraints."""


@pytest.mark.parametrize(
    ("version", "constraint", "placed", "least", "most", "because"),
    [
        ("0.8.2", "hostname UNIQUE", [], 3, 3, "one on each host"),
        ("1.11.0", "hostname UNIQUE", [], 3, 3, "one on each host"),
        ("1.8.222", "@hostname UNIQUE", [], 3, 3, "another name for the host name from 1.6 on"),
        ("1.5.0", "@hostname UNIQUE", [], 0, 0, "before, an attribute that no agent has"),
        ("1.8.222", "hostname UNIQUE", [Placed("a")], 2, 2, "a has one"),
        ("1.8.222", "rack UNIQUE", [], 2, 2, "one in each rack"),
        ("1.8.222", "rack UNIQUE", [Placed("x")], 2, 2, "an instance without the attribute hinders nobody"),
        ("1.8.222", "zone UNIQUE", [], 0, 0, "no agent has the attribute"),
        ("0.8.2", "rack CLUSTER r1", [], 4, 4, "two hosts in r1 hold two each"),
        ("1.5.0", "rack CLUSTER r1", [Placed("x", {"rack": "r2"})], 0, 0, "before 1.6 all that is placed must have the value, too"),
        ("1.6.322", "rack CLUSTER r1", [Placed("x", {"rack": "r2"})], 4, 4, "from 1.6 on only the offer is compared"),
        ("1.8.222", "rack CLUSTER", [], 2, 4, "whichever rack comes first"),
        ("1.8.222", "rack CLUSTER", [Placed("x", {"rack": "r2"})], 2, 2, "the rack of what is placed"),
        ("1.1.0", "rack CLUSTER", [Placed("x", {"rack": "r1"}), Placed("y", {"rack": "r2"})], 0, 0, "no rack has all of them"),
        (
            "1.8.222",
            "rack CLUSTER",
            [Placed("x", {"rack": "r1"}), Placed("y", {"rack": "r2"})],
            2,
            4,
            "one of them is compared, which is open",
        ),
        ("1.8.222", "rack CLUSTER", [Placed("x")], 0, 0, "what is placed has no rack to share"),
        ("1.8.222", "zone CLUSTER", [], 0, 0, "no agent has the attribute"),
        ("1.8.222", "rack LIKE r[2-9]", [], 2, 2, "the whole value must match"),
        ("1.8.222", "rack LIKE r", [], 0, 0, "a part is no match"),
        ("1.8.222", "zone LIKE .*", [], 0, 0, "a missing attribute fails"),
        ("1.1.0", "rack LIKE", [], 0, 0, "no pattern, no match"),
        ("1.1.0", "hostname LIKE", [], 0, 0, "the empty pattern matches the empty host name only"),
        ("1.8.222", "rack UNLIKE r1", [], 2, 2, "r2 is left"),
        ("1.8.222", "zone UNLIKE .*", [], 6, 6, "a missing attribute passes UNLIKE"),
        ("1.1.0", "rack UNLIKE", [], 0, 0, "no pattern: false for attributes"),
        ("1.1.0", "hostname UNLIKE", [], 6, 6, "no host name is the empty one"),
        ("1.8.222", "hostname UNLIKE", [], 0, 0, "from 1.6 on false for all fields"),
        ("1.8.222", "rack LIKE (r+)+", [], 0, 0, "a pattern that is not evaluated matches nothing"),
        ("1.8.222", "rack UNLIKE (r+)+", [], 0, 0, "nor does its opposite"),
        ("1.4.4", "hostname MAX_PER 1", [], 3, 3, "as UNIQUE"),
        ("1.4.4", "rack MAX_PER 3", [], 5, 5, "three of four in r1, two in r2"),
        ("1.4.4", "rack MAX_PER 3", [Placed("x", {"rack": "r1"})] * 2, 3, 3, "one more in r1, two in r2"),
        ("1.4.4", "rack MAX_PER 0", [], 2, 2, "a value that has none is not compared: the first always goes in"),
        ("1.4.3", "rack MAX_PER 1", [], 6, 6, "until 1.4.3 the host name was looked up among the racks: no limit"),
        ("1.4.3", "hostname MAX_PER 1", [], 3, 3, "on the host name it worked"),
        ("1.4.3", "zone MAX_PER 1", [], 0, 0, "and a missing attribute fails all the same"),
        ("1.6.322", "rack IS r1", [], 4, 4, "equal"),
        ("1.6.322", "rack IS r3", [], 0, 0, "not equal"),
    ],
)
def test_operators(version: str, constraint: str, placed: list[Placed], least: int, most: int, because: str) -> None:
    """Golden cases over three hosts in two racks."""
    found = headroom(app(constraint), view(*THREE, version=version), placed)
    assert (found.least, found.most) == (least, most), because


@pytest.mark.parametrize(
    ("version", "constraint", "sizes", "placed", "least", "most", "because"),
    [
        ("1.8.222", "rack GROUP_BY", {"x": 5, "y": 3}, [], 7, 8, "both open: y is full at 3, x ends at 4; or x is filled alone first"),
        ("1.8.222", "rack GROUP_BY 2", {"x": 5, "y": 3}, [], 7, 7, "two groups must be open before any grows"),
        ("1.8.222", "rack GROUP_BY 3", {"x": 5, "y": 3}, [], 2, 2, "never three: one in each and no more"),
        ("1.8.222", "rack GROUP_BY inf", {"x": 5, "y": 3}, [], 2, 2, "as many groups as there can be"),
        ("1.8.222", "rack GROUP_BY 2", {"x": 5, "y": 3, "z": 1}, [], 5, 8, "z early: level 1, so 2+2+1; z late: x 4, y 3, z 1"),
        (
            "1.8.222",
            "rack GROUP_BY 2",
            {"x": 5, "y": 3},
            ["x", "x", "y"],
            6,
            6,
            "y ends at 4, three more, and x one above it, at 5: three more",
        ),
        ("1.8.222", "rack GROUP_BY", {"x": 5}, ["y"], 2, 2, "y's rack is gone and stays at 1: x ends at 2"),
        ("1.8.222", "rack GROUP_BY", {"x": 5}, [None], 2, 2, "instances without a rack are a group, too"),
        ("1.8.222", "rack GROUP_BY", {}, [], 0, 0, "nowhere to go"),
        ("0.8.2", "rack GROUP_BY x", {"x": 5, "y": 3}, [], 7, 8, "what is no number is 0"),
        ("1.11.0", "rack GROUP_BY", {"x": 5, "y": 3}, [], 0, 0, "a division by zero"),
        ("1.11.0", "rack GROUP_BY 2", {"x": 5, "y": 3}, [], 7, 7, "a target of 7 is 3 and 4; of 8 would be 4 and 4"),
        ("1.11.0", "rack GROUP_BY 3", {"x": 5, "y": 3}, [], 2, 2, "a target of 3 would need a third group"),
        ("1.11.0", "rack GROUP_BY 1", {"x": 5, "y": 3}, [], 3, 5, "only one group is ever used, whichever comes first"),
        ("1.11.0", "rack GROUP_BY inf", {"x": 5, "y": 3}, [], 2, 2, "as UNIQUE on the field"),
        (
            "1.11.0",
            "rack GROUP_BY 2",
            {"x": 5, "y": 3},
            ["x", "x"],
            5,
            5,
            "a target of 7 is 3 and 4: y three more, x two more; of 8, y would need 4",
        ),
    ],
)
def test_group_by(
    version: str, constraint: str, sizes: dict[str, float], placed: list[str | None], least: int, most: int, because: str
) -> None:
    """Golden cases over racks of one agent each."""
    found = headroom(app(constraint), view(*racks(**sizes), version=version), on(*placed))
    assert (found.least, found.most) == (least, most), because


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        ("r1", Text.EMPTY, "r1"),
        (5.0, Text.EMPTY, ""),
        ("[1-2]", Text.EMPTY, ""),
        (1024.0, Text.GROUPED, "1,024"),
        (1024.0, Text.PLAIN, "1024"),
        (1.5, Text.PLAIN, "1.5"),
        (1.0005, Text.PLAIN, "1"),
        (1.1005, Text.PLAIN, "1.101"),
        (-0.0001, Text.PLAIN, "-0"),
        (float("inf"), Text.PLAIN, "inf"),
        ("[31-40, 1-2]", Text.PLAIN, "[1-2,31-40]"),
        ("{b, a}", Text.GROUPED, "{a,b}"),
        ("", Text.PLAIN, ""),
    ],
)
def test_attributes_as_they_are_compared(value: str | float, form: Text, text: str) -> None:
    """Only text before 1.2; numbers with grouping until 1.6.0, then with at most three decimals."""
    assert text_of(value, form) == text


def test_a_scalar_attribute_before_1_2_is_nothing() -> None:
    """All agents then have the same empty value, and UNIQUE places one instance in all."""
    hosts = (offer("a", rack=1), offer("b", rack=2))
    assert headroom(app("rack UNIQUE"), view(*hosts, version="1.1.0")).most == 1
    assert headroom(app("rack UNIQUE"), view(*hosts, version="1.4.0")).most == 2
    [why, _] = reasons(app("rack LIKE 1"), view(*hosts, version="1.1.0"))
    assert why.detail == "rack LIKE 1: here nothing that can be compared"


@pytest.mark.parametrize(("value", "least"), [("8", 1), ("8.0", 1), ("8.0004", 1), ("9", 0), ("8x", 0)])
def test_is_compares_numbers_as_numbers(value: str, least: int) -> None:
    """After both have three decimals."""
    assert headroom(app(f"cores IS {value}"), view(offer("a", 1, cores=8))).least == least


def test_fields_of_each_version() -> None:
    """Region and zone from 1.6 on; 1.6.0 called the zone @field."""
    place = msgspec.structs.replace(offer("a", rack="r1"), region="eu", zone="eu-1")
    new, first, old = rules_of("1.8.222"), rules_of("1.6.0"), rules_of("1.5.0")
    assert [value_of(place, field, new) for field in ("hostname", "@hostname", "@region", "@zone", "rack", "x")] == [
        "a",
        "a",
        "eu",
        "eu-1",
        "r1",
        None,
    ]
    assert (value_of(place, "@field", first), value_of(place, "@zone", first)) == ("eu-1", None)
    assert [value_of(place, field, old) for field in ("@hostname", "@region", "@zone")] == [None] * 3
    assert value_of(offer("a"), "@region", new) is value_of(offer("a"), "@zone", new) is None


@pytest.mark.parametrize(
    ("constraint", "placed", "detail"),
    [
        ("rack LIKE r2", [], "rack LIKE r2: here 'r1'"),
        ("zone UNIQUE", [], "zone UNIQUE: the agent has no zone"),
        ("hostname UNIQUE", [Placed("a")], "as many instances as the constraint allows are there"),
        ("rack CLUSTER", [Placed("x", {"rack": "r2"})], "the instances placed have another value"),
        ("rack GROUP_BY", [Placed("x", {"rack": "r1"}), Placed("y")] * 2 + [Placed("x", {"rack": "r1"})], "the groups would be uneven"),
    ],
)
def test_a_refusal_says_which_constraint(constraint: str, placed: list[Placed], detail: str) -> None:
    """Marathon's word for it, and what is so."""
    host: Offer = offer("a", rack="r1")
    [refusal] = reasons(app(constraint), view(host), placed)
    assert (refusal.hostname, refusal.reasons, refusal.detail) == ("a", (Reason.UNFULFILLED_CONSTRAINT,), detail)


@pytest.mark.parametrize(
    ("wanted", "counts", "target", "takes", "because"),
    [
        (0, {"x": 2, "y": 1}, 0, False, "x is not the smallest"),
        (0, {"x": 1, "y": 1}, 0, True, "x is one of the smallest"),
        (3, {"x": 1, "y": 1}, 0, False, "a third group must come first"),
        (3, {"y": 1}, 0, True, "a new group always"),
        (0, {}, 1, False, "no number: nothing"),
        (2, {"y": 1}, 4, True, "there may be another group"),
        (1, {"y": 1}, 4, False, "there may not"),
        (2, {"x": 1, "y": 3}, 4, True, "x has not its share of 2"),
        (2, {"x": 3, "y": 1}, 4, False, "x has more than its share"),
        (2, {"x": 2, "y": 2}, 5, True, "one is left over"),
        (2, {"x": 2, "y": 3}, 5, False, "y has had it"),
    ],
)
def test_one_more_in_a_group(wanted: int, counts: dict[str | None, int], target: int, takes: bool, because: str) -> None:
    """``checkGroupBy`` before 1.11 and since, for an offer in x."""
    assert even(Groups((), {}, wanted), counts, "x", target) is takes, because
