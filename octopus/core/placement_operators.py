"""An app's constraints: which there are, and which a Marathon of each version refuses, in its words.

Sources: ``ConstraintDeserializer`` (0.8), ``api/v2/json/Formats.scala`` (0.9 to 1.4), ``state/AppDefinition.scala`` (1.3, 1.4),
``api/v2/validation/SchedulingValidation.scala`` (1.5 on).
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from octopus.core.backtracking import ways
from octopus.core.placement_json import Fields
from octopus.core.placement_rules import Rules

MOST_INT = 2**31 - 1
_INT = re.compile(r"[+-]?[0-9]{1,10}")
_IS = re.compile(r"[a-zA-Z0-9_/.-]*")
MAX_PATTERN = 1000
MAX_REPEATS = 8
MOST_WAYS = 5_000_000
"""Ways of trying a pattern: so many take Python about 0.1 s."""
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{[0-9]*,\}|\{[0-9]*,[0-9]{2,}\})")
_REPEAT = re.compile(r"(?<!\\)(?:[*+]|\{[0-9]*,)")


class Constraint(msgspec.Struct, frozen=True, gc=False):
    """One constraint; ``value`` is "" where there is none."""

    field: str
    operator: str
    value: str = ""

    def __str__(self) -> str:
        """Return it as people write it."""
        return " ".join(filter(None, (self.field, self.operator, self.value)))


def java_int(text: str) -> int | None:
    """Return what Java's ``toInt`` reads, None for anything else."""
    number = int(text) if _INT.fullmatch(text) else MOST_INT + 1
    return number if -MOST_INT - 1 <= number <= MOST_INT else None


@lru_cache(maxsize=1000)
def pattern(text: str) -> re.Pattern[str] | None:
    """Return a pattern for ``fullmatch``, as Java's ``String.matches``; None for what cannot be evaluated here.

    That is what Python does not read (some constructs of Java), and what could take for ever on a long name: a repeated group,
    very many repeats, or many that may share what they match.
    """
    if len(text) > MAX_PATTERN or len(_REPEAT.findall(text)) > MAX_REPEATS or _REPEATED_GROUP.search(text):
        return None
    try:
        return re.compile(text) if ways(text) <= MOST_WAYS else None
    except (re.error, OverflowError, RecursionError):
        return None


def constraints(fields: Fields, rules: Rules) -> tuple[Constraint, ...]:
    """Return the constraints of an app's document; each that Marathon refuses is a fault."""
    found = []
    for at, item in enumerate(fields.items("constraints")):
        constraint = _read(item, rules)
        fault = constraint if isinstance(constraint, str) else _fault(constraint, rules)
        if fault:
            fields.fault(f"constraints({at})", fault)
        else:
            found.append(constraint)
    return tuple(each for each in found if isinstance(each, Constraint))


def _read(item: object, rules: Rules) -> Constraint | str:
    """Return a constraint, or what is wrong with its shape or operator."""
    parts = item if isinstance(item, list) else []
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) != len(parts) or not 2 <= len(parts) <= 3:
        if rules.version >= (1, 5, 0):
            return "Each constraint must have either 2 or 3 fields"
        return "Constraint definition must be an array of strings in format: <key>, <operator>[, value]"
    operator = texts[1].upper() if rules.any_case else texts[1]
    if not texts[0]:
        return "illegal constraint specification"
    if operator not in rules.operators:
        if rules.version >= (1, 5, 0):
            return f"operator must be one of the following {_listed(rules.operators)}"
        return f"Constraint operator must be one of the following: [{', '.join(rules.operators)}]"
    if len(texts) == 3 and not texts[2] and not rules.empty_values and operator == "UNIQUE":
        return "UNIQUE does not accept a value"
    return Constraint(texts[0], operator, texts[2] if len(texts) == 3 else "")


def _listed(operators: tuple[str, ...]) -> str:
    return f"{', '.join(operators[:-1])} or {operators[-1]}"


def _fault(constraint: Constraint, rules: Rules) -> str:
    """Return what is wrong with a constraint's value, "" for nothing."""
    if not rules.values_checked:
        return ""
    strict = rules.version >= (1, 5, 0)
    value, is_int = constraint.value, java_int(constraint.value) is not None
    match constraint.operator:
        case "UNIQUE" if value:
            return "UNIQUE does not accept a value" if strict else "Value specified but not used"
        case "CLUSTER" if not value and not strict:
            return "Missing value"
        case "GROUP_BY" if value and not is_int:
            return "GROUP BY must define an integer value or else no value at all" if strict else "Value was specified but is not a number"
        case "MAX_PER" if not is_int:
            return "MAX_PER requires an integer value" if strict else "Value was specified but is not a number"
        case "LIKE" | "UNLIKE" if not value:
            return (
                "LIKE and UNLIKE require a non-empty, regular expression value" if strict else "A regular expression value must be provided"
            )
        case "LIKE" | "UNLIKE" if pattern(value) is None:
            return "is not a valid regular expression" if strict else f"'{value}' is not a valid regular expression"
        case "IS" if not _IS.fullmatch(value):
            return "IS only supports Mesos text and float values"
    return ""
