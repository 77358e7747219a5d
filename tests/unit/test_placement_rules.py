"""Each version of Marathon has its own behaviour, and one value says which."""

from __future__ import annotations

import pytest

from octopus.core.placement_rules import Entries, Rules, Text, rules_of, version_of


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.8.2", (0, 8, 2)),
        ("1.4.13", (1, 4, 13)),
        ("1.6.549-aabf74302", (1, 6, 549)),
        ("1.11", (1, 11, 0)),
        ("", (1, 11, 0)),
        ("x", (1, 11, 0)),
    ],
)
def test_versions_are_read(text: str, numbers: tuple[int, int, int]) -> None:
    """Builds and snapshots too; what cannot be read is taken as the newest."""
    assert version_of(text) == numbers


@pytest.mark.parametrize(
    ("field", "last_without", "first_with", "before", "after"),
    [
        ("entries", "0.8.2", "0.9.0", Entries.ANY, Entries.ONE),
        ("entries", "0.15.7", "1.1.0", Entries.ONE, Entries.SUMMED),
        ("contiguous_ports", "0.8.2", "0.9.0", True, False),
        ("any_case", "0.8.2", "0.9.0", True, False),
        ("any_case", "1.4.13", "1.5.0", False, True),
        ("empty_values", "1.4.13", "1.5.0", True, False),
        ("only_current_configuration", "0.15.7", "1.1.0", False, True),
        ("spare_unless_killing", "0.15.7", "1.1.0", True, False),
        ("text", "1.1.7", "1.2.0", Text.EMPTY, Text.GROUPED),
        ("text", "1.6.0", "1.6.322", Text.GROUPED, Text.PLAIN),
        ("values_checked", "1.2.0", "1.3.0", False, True),
        ("gpus", "1.2.0", "1.3.0", False, True),
        ("max_per_by_host", "1.2.0", "1.3.0", False, True),
        ("max_per_by_host", "1.4.3", "1.4.4", True, False),
        ("without_lost", "1.3.14", "1.4.0", False, True),
        ("cluster_all", "1.5.15", "1.6.0", True, False),
        ("at_fields", "1.5.15", "1.6.0", False, True),
        ("local_region", "1.5.15", "1.6.0", False, True),
        ("empty_pattern_matches_empty_host", "1.5.15", "1.6.0", True, False),
        ("zone_field", "1.6.0", "1.6.322", "@field", "@zone"),
        ("maintenance", "1.7.37", "1.7.149", False, True),
        ("gpus_kept", "1.7.236", "1.8.180", False, True),
        ("group_by_target", "1.10.26", "1.11.0", False, True),
    ],
)
def test_a_behaviour_changes_with_a_version(field: str, last_without: str, first_with: str, before: object, after: object) -> None:
    """As seen in Marathon's tagged sources: the last release without it and the first with it."""
    assert getattr(rules_of(last_without), field) == before
    assert getattr(rules_of(first_with), field) == after


def test_the_defaults_are_the_newest() -> None:
    """Where nothing is known of a Marathon, 1.11 is assumed."""
    assert rules_of("") == Rules()


def test_operators_came_with_versions() -> None:
    """MAX_PER with 1.3, IS with 1.6.322."""
    assert [len(rules_of(version).operators) for version in ("0.8.2", "1.3.0", "1.6.0", "1.6.322")] == [5, 6, 6, 7]


@pytest.mark.parametrize(
    ("version", "features", "told", "wanted"),
    [
        ("1.6.549", ["maintenance_mode"], None, True),
        ("1.6.549", [], None, False),
        ("1.5.0", ["maintenance_mode"], None, False),
        ("1.8.222", [], None, True),
        ("1.8.222", [], False, False),
        ("1.8.222", ["maintenance_mode"], False, True),
    ],
)
def test_maintenance_is_a_feature_then_the_default(version: str, features: list[str], told: bool | None, wanted: bool) -> None:
    """In 1.6 asked for, from 1.7.149 on unless switched off."""
    assert rules_of(version, features=features, maintenance=told).maintenance is wanted


@pytest.mark.parametrize(
    ("version", "asked", "default", "wanted"),
    [
        ("1.4.0", [], [], {"*", "web"}),
        ("1.4.0", ["*"], [], {"*"}),
        ("1.4.0", ["web", "other"], [], {"web"}),
        ("1.4.0", [], ["*"], {"*"}),
        ("1.4.0", ["web"], ["*"], {"web"}),
        ("0.8.2", ["*"], [], {"*", "web"}),
    ],
)
def test_accepted_roles(version: str, asked: list[str], default: list[str], wanted: set[str]) -> None:
    """What the app asks for, else the default, else all that Marathon sees; 0.8 cannot choose."""
    assert rules_of(version, role="web", default_roles=default).accepted_roles(asked) == wanted
