"""The routing file: every error with its location, and a bad file keeps the tree before it."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from notification_service.routing import durations, matchers, reading
from notification_service.routing.cli import routes
from notification_service.routing.document import DocumentError
from notification_service.routing.matchers import Matcher, MatcherError
from notification_service.routing.tree_file import TreeFile

RECEIVERS = """
receivers:
- {name: team, webhook: {url: "https://hooks.example/x", key_secret: KEY}}
- {name: chat, apprise: {secret: CHAT}}
- {name: pager, on_call: {schedule: primary, fallback: team}}
schedules:
- {name: primary, file: primary.ics, people: {Alice: chat, bob@example.org: team}}
"""
TREE = """
route:
  receiver: team
  group_by: [rule]
  repeat_interval: 1d
  escalate: [{after: 15m, receiver: chat}]
  routes:
  - matchers: ['level=~"high|critical"']
    receiver: pager
    continue: true
    routes:
    - matchers: ['environment="prod"', 'host!~"test-.*"']
      group_by: ['...']
  - matchers: [level="critical"]
    receiver: chat
    escalate: []
  - matchers: ['environment=""']
"""


def _resolved(labels: dict[str, str]) -> list[tuple[str, int]]:
    tree = reading.read(TREE + RECEIVERS)
    return [(route.receiver, len(route.escalate)) for route in tree.resolve(labels)]


def test_an_alert_takes_the_deepest_routes_as_in_alertmanager() -> None:
    assert _resolved({"level": "low", "environment": "prod"}) == [("team", 1)]
    assert _resolved({"level": "high", "environment": "prod"}) == [("pager", 1)]
    # continue: the next siblings are looked at too
    assert _resolved({"level": "critical", "environment": "dev"}) == [("pager", 1), ("chat", 0)]
    # a label that is missing is the empty text
    assert _resolved({"level": "low"}) == [("team", 1)]


def test_groups_have_the_labels_of_group_by() -> None:
    tree = reading.read(TREE + RECEIVERS)
    (deep,) = tree.resolve({"level": "high", "environment": "prod"})
    (root,) = tree.resolve({"level": "low", "environment": "prod"})

    assert deep.group_labels({}, UUID(int=7)) == {"alert_id": str(UUID(int=7))}
    assert root.group_labels({"rule": "r", "host": "h"}, UUID(int=7)) == {"rule": "r"}
    assert deep.repeat_interval == durations.parse("1d")


BAD: dict[str, tuple[str, str]] = {
    "not YAML": ("route: [", "is not YAML"),
    "a list": ("- a", "1:1: must be a mapping"),
    "no receivers": ("route: {receiver: x}", "the field 'receivers' is missing"),
    "an unknown receiver": ("route: {receiver: nobody}" + RECEIVERS, "1:19: route.receiver: there is no receiver 'nobody'"),
    "an unknown field": ("route:\n  receiver: team\n  colour: red" + RECEIVERS, "3:3: route.colour: unknown field"),
    "matchers on the root": ("route: {receiver: team, matchers: []}" + RECEIVERS, "the first route takes every alert"),
    "an unknown label": ("route: {receiver: team, group_by: [nothing]}" + RECEIVERS, "no label 'nothing'"),
    "a wrong expression": ("route: {receiver: team, routes: [{matchers: ['host=~\"((\"']}]}" + RECEIVERS, "regular expression"),
    "a wrong duration": ("route: {receiver: team, group_wait: soon}" + RECEIVERS, "1:37: route.group_wait: 'soon' is not a duration"),
    "an interval of nothing": ("route: {receiver: team, group_interval: 0s}" + RECEIVERS, "at least 1s"),
    "steps in the wrong order": ("route: {receiver: team, escalate: [{after: 2m, receiver: team}, {after: 1m, receiver: team}]}" + RECEIVERS, "later than the step before"),
    "the same route twice": ("route: {receiver: team, routes: [{matchers: ['level=\"low\"']}, {matchers: ['level=\"low\"']}]}" + RECEIVERS, "the same matchers"),
    "a password in a URL": ("route: {receiver: a}\nreceivers: [{name: a, webhook: {url: 'https://u:p@h/', key_secret: K}}]", "must not contain a password"),
    "a file URL": ("route: {receiver: a}\nreceivers: [{name: a, webhook: {url: 'file:///etc/passwd', key_secret: K}}]", "http or https"),
    "a path of a secret": ("route: {receiver: a}\nreceivers: [{name: a, apprise: {secret: ../../etc/passwd}}]", "name of a secret"),
    "a path of a calendar": ("route: {receiver: team}\nreceivers: [{name: team, apprise: {secret: S}}]\nmaintenance: [{name: m, file: ../x.ics, matchers: ['level=\"low\"']}]", "beside the routing file"),
    "a window that hides all": ("route: {receiver: team}\nreceivers: [{name: team, apprise: {secret: S}}]\nmaintenance: [{name: m, file: x.ics, matchers: []}]", "hide every alert"),
    "on call in a circle": ("route: {receiver: a}\nreceivers: [{name: a, on_call: {schedule: s, fallback: a}}]\nschedules: [{name: s, file: s.ics, people: {}}]", "on-call receiver"),
    "aliases without end": ("a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n", "values"),
    "deep": ("[" * 5000 + "]" * 5000, "nested too deeply"),
    "rather deep": ("[" * 50 + "]" * 50, "levels"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_an_error_has_its_location(name: str) -> None:
    text, what = BAD[name]
    with pytest.raises(DocumentError) as refused:
        reading.read(text)
    assert what in str(refused.value)


def test_an_empty_file_routes_nothing() -> None:
    tree = reading.read("# nothing yet\n")
    assert (tree.root, tree.resolve({"level": "critical"})) == (None, ())


def test_all_errors_are_found_at_once() -> None:
    text = "route: {receiver: x, group_wait: y, group_by: [z]}" + RECEIVERS
    with pytest.raises(DocumentError) as refused:
        reading.read(text)
    assert len(refused.value.faults) == 3


@pytest.mark.parametrize(
    "text", ['a', '="x"', 'level="x', 'level="x"y"', 'LEVEL="x"', 'level=~"(("', "le vel=x", "a=b\0"]
)  # fmt: skip
def test_a_wrong_matcher_is_refused(text: str) -> None:
    with pytest.raises(MatcherError):
        matchers.parse(text)


@pytest.mark.parametrize("value", ["x", 'a"b', "a\\b", "a\nb", "\\", "\\n", "ünïcode", ""])
def test_a_matcher_is_written_as_it_is_read(value: str) -> None:
    matcher = Matcher("entity.user id".replace(" ", "_"), "=", value)
    again = matchers.parse(str(matcher))
    assert (again, again.value) == (matcher, value)


def test_a_bad_file_keeps_the_tree_before_it(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    outcomes: list[bool] = []
    file.write_text(TREE + RECEIVERS)
    watched = TreeFile(file, on_reload=outcomes.append)
    assert watched.refresh()
    before = watched.tree

    file.write_text("route: {")
    assert not watched.refresh()
    assert watched.tree is before
    assert "is not YAML" in (watched.error() or "")

    file.unlink()
    assert not watched.refresh()
    assert "cannot be read" in (watched.error() or "")

    file.write_text(TREE + RECEIVERS)
    assert watched.refresh()
    assert watched.error() is None
    assert outcomes == [True, False, False, True]


def test_lint_reports_files_beside_the_routing_file(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(TREE + RECEIVERS)

    missing: Any = CliRunner().invoke(routes, ["lint", str(file)])
    assert (missing.exit_code, "primary.ics: cannot be read" in missing.output) == (1, True)

    (tmp_path / "primary.ics").write_text("no calendar")
    (tmp_path / "chat.j2").write_text("{% if %}")
    broken: Any = CliRunner().invoke(routes, ["lint", str(file)])
    assert "primary.ics: the file is not an iCal calendar" in broken.output
    assert "chat.j2:1:" in broken.output

    calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//\r\nEND:VCALENDAR\r\n"
    (tmp_path / "primary.ics").write_text(calendar)
    (tmp_path / "chat.j2").unlink()
    fine: Any = CliRunner().invoke(routes, ["lint", str(file)])
    assert (fine.exit_code, fine.output) == (0, f"{file}: no errors\n")
