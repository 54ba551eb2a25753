"""Catalogues are complete, and templates and scripts contain no text that is not in them."""

import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from babel.messages import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

from event_audit_dashboard.errors import ApiError, Unreachable
from event_audit_dashboard.localization import languages
from event_audit_dashboard.localization.translation import LANGUAGES, N_, ngettext, percent, using
from event_audit_dashboard.presentation import times
from event_audit_dashboard.rendering import templating
from event_audit_dashboard.rendering.assets import Assets

from .fake_api import alert

PACKAGE = Path(languages.__file__).parents[1]
ROOT = PACKAGE.parent
TEMPLATES = sorted(
    set((PACKAGE / "templates").glob("*.html")) - {PACKAGE / "templates/_symbols.html"}
)
OTHERS = sorted(set(LANGUAGES) - {"en"})
#: Attributes of HTML that a person reads or hears.
READ = ("aria-label", "title", "placeholder", "alt", "data-label")
#: Words that are the same in all languages: names, formats and keys.
SAME = {"AuditFlow", "UTC", "level", "host", "ci", "rule", "3f7b"}
WORD = re.compile(r"[^\W\d_]{2,}")


def test_every_text_is_translated() -> None:
    known = {message.id for message in extracted() if message.id}
    assert len(known) > 500, "the extraction finds too little"
    problems = []
    for code in OTHERS:
        found = catalogue(code)
        translated = {message.id for message in found if message.id}
        problems += [f"{code}: not in the catalogue: {text!r}" for text in known - translated]
        problems += [f"{code}: not used any more: {text!r}" for text in translated - known]
        for message in found:
            if message.id and (message.fuzzy or not all(forms(message.string))):
                problems.append(f"{code}: not translated: {message.id!r}")
    assert problems == []


@pytest.mark.parametrize("code", OTHERS)
def test_translations_have_the_placeholders_and_tags_of_the_text(code: str) -> None:
    problems = []
    for message in catalogue(code):
        if not message.id:
            continue
        source = forms(message.id)[-1]
        found = [form for form in forms(message.string) if parts(form) != parts(source)]
        problems += [f"{form!r} of {source!r}" for form in found]
    assert problems == []


def test_templates_contain_no_text_outside_of_the_catalogues() -> None:
    problems = [f"{path.name}: {text!r}" for path in TEMPLATES for text in bare_texts(path)]
    assert problems == []


@pytest.mark.parametrize(
    "template",
    [
        "<p>Hello</p>",
        '<p title="Hello"></p>',
        '<p aria-label="{{ number }} alerts"></p>',
        '{{ "Hello" if found else "" }}',
        '{{ value or "none" }}',
        '{{ name ~ " of alerts" }}',
    ],
)
def test_a_text_outside_of_the_catalogues_is_found(template: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(template)
    assert list(bare_texts(path))


def test_a_template_with_translated_texts_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<p title="{{ _("Hello") }}" class="soft {{ "bad" if on }}">{{ _("Hi") }}</p>')
    assert list(bare_texts(path)) == []


@cache
def extracted() -> Catalog:
    """The texts of the source code, as `make translations` finds them."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "messages.pot")
        command = ("-m", "babel.messages.frontend", "-q", "extract", "-F", "pyproject.toml", "-o")
        subprocess.run([sys.executable, *command, str(found), "."], cwd=ROOT, check=True)
        with found.open("rb") as file:
            return read_po(file)


def catalogue(code: str) -> Catalog:
    with (PACKAGE / "translations" / code / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)


def forms(value: Any) -> tuple[str, ...]:
    """The forms of a text with plural, or the only form."""
    return (value,) if isinstance(value, str) else tuple(value or ("",))


def parts(text: str) -> tuple[list[str], list[str]]:
    """Placeholders and tags of a text, sorted."""
    return sorted(re.findall(r"%\(\w+\)s|%%", text)), sorted(re.findall(r"<[^>]+>", text))


def bare_texts(path: Path) -> Iterator[str]:
    """Texts of a template that a person reads and that are not translated."""
    # The block has classes of CSS.
    template = re.sub(r"{% block page %}.*?{% endblock %}", "", path.read_text())
    source = Environment(autoescape=True).parse(template)
    html = ""
    for output in source.find_all(nodes.Output):
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                html += node.data
                continue
            in_tag = html.rfind("<") > html.rfind(">")
            html += "\0"
            if not in_tag or re.search(rf'(?:{"|".join(READ)})="[^"]*\0$', html):
                yield from filter(is_text, constants(node))
    without_tags = re.sub(r"<[^>]*>", " ", re.sub(r"<code>.*?</code>", " ", html))
    yield from (text for text in re.split(r"\s{2,}|\0", without_tags) if is_text(text))
    for tag in re.findall(r"<[^>]*>", html):
        for value in re.findall(rf'(?:{"|".join(READ)})="([^"]*)"', tag):
            if is_text(value.replace("\0", "")):
                yield value


def constants(node: nodes.Node) -> Iterator[str]:
    """The text constants that an expression shows: not those in arguments of calls and filters."""
    match node:
        case nodes.Const(value=str() as value):
            yield value
        case nodes.CondExpr():
            for part in (node.expr1, node.expr2):
                if part is not None:
                    yield from constants(part)
        case nodes.Or() | nodes.Add():
            yield from constants(node.left)
            yield from constants(node.right)
        case nodes.Concat():
            for part in node.nodes:
                yield from constants(part)
        case nodes.Filter(node=nodes.Node() as inner):
            yield from constants(inner)


def is_text(text: str) -> bool:
    return bool(set(WORD.findall(re.sub(r"&\w+;", " ", text))) - SAME)


def test_the_browser_and_then_the_settings_select_the_language(
    analyst: Any, api: Any, now: Any
) -> None:
    api.alerts = [alert(1, now=now)]
    english = analyst.get("/alerts", headers={"Accept-Language": "fr, en;q=0.5, de;q=0.1"}).text
    assert '<html lang="en">' in english
    assert ">Acknowledge<" in english
    german = analyst.get("/alerts", headers={"Accept-Language": "de-AT, en;q=0.5"}).text
    assert '<html lang="de">' in german
    assert ">Bestätigen<" in german
    assert "texts.de.js" in german
    data = {"csrf_token": analyst.token("/settings"), "language": "de"}
    saved = analyst.http.post("/settings/language", data=data, follow_redirects=True).text
    assert 'lang="de" selected>Deutsch' in saved
    german = analyst.get("/alerts", headers={"Accept-Language": "en"}).text
    assert '<html lang="de">' in german
    assert "Offen</span>" in german, "the rows of the list are those of the other language"
    data = {"csrf_token": analyst.token("/settings"), "language": ""}
    analyst.http.post("/settings/language", data=data)
    assert '<html lang="en">' in analyst.get("/alerts").text


def test_an_unknown_language_is_rejected(analyst: Any, api: Any) -> None:
    data = {"csrf_token": analyst.token("/settings"), "language": "../de"}
    saved = analyst.http.post("/settings/language", data=data, follow_redirects=True)
    assert "There is no language with this code." in saved.text
    analyst.http.set_cookie("auditflow-language", "../de")
    assert '<html lang="en">' in analyst.get("/settings").text


def test_numbers_dates_and_durations_follow_the_language() -> None:
    time = dt.datetime(2026, 5, 4, 9, 8, 7, 6000, dt.UTC)
    with using(LANGUAGES["de"]):
        assert ngettext("%(count)s alert", "%(count)s alerts", 12_000) == "12.000 Alarme"
        assert percent(0.4) == "40 %"
        assert times.exact(time) == "04.05.2026 09:08:07,006 UTC"
        assert times.ago(time, time + dt.timedelta(hours=3)) == "vor 3 Std."
        assert times.span(time, time + dt.timedelta(days=2)) == "2 Tg."
    assert ngettext("%(count)s alert", "%(count)s alerts", 12_000) == "12,000 alerts"
    assert times.exact(time) == "2026-05-04 09:08:07.006 UTC"
    assert times.ago(time, time + dt.timedelta(hours=3)) == "3 h ago"


def test_an_error_of_the_dashboard_is_translated_and_its_log_is_english() -> None:
    error = Unreachable(N_("%(service)s cannot be reached"), service=N_("the analysis"))
    outer = ApiError(N_("The ledger cannot be read: %(reason)s"), reason=error)
    with using(LANGUAGES["de"]):
        assert (
            outer.text == "Die Bilanz kann nicht gelesen werden: die Analyse ist nicht erreichbar"
        )
    assert str(outer) == "The ledger cannot be read: the analysis cannot be reached"


def test_the_text_of_an_api_is_no_format() -> None:
    assert ApiError("100 % of %(values)s are wrong").text == "100 % of %(values)s are wrong"
    assert ApiError("").text == "", "the header of the catalogue is the entry of the empty text"


def test_values_in_translated_texts_are_escaped() -> None:
    with using(LANGUAGES["de"]):
        shown = templating.markup('until <a href="%(url)s">its alert</a> is resolved', url='"><b>')
    assert shown == 'bis <a href="&#34;&gt;&lt;b&gt;">sein Alarm</a> gelöst ist'


@pytest.mark.parametrize("code", OTHERS)
def test_scripts_get_all_their_texts(code: str) -> None:
    asset = Assets().get(f"texts.{code}.js")
    assert asset is not None
    content = asset.content.decode().removeprefix("window.auditflowTexts = ").rstrip(";\n")
    found = json.loads(content)
    assert found["texts"]["Copied"] == LANGUAGES[code].text("Copied")
    forms = found["texts"]["%(count)s new alert"]
    for number in (0, 1, 2, 5, 100, 101, 111, 199):
        wanted = LANGUAGES[code].plural("%(count)s new alert", "%(count)s new alerts", number)
        assert forms[found["plurals"][number]] == wanted


def test_the_compiled_catalogues_are_current() -> None:
    for code in OTHERS:
        for message in catalogue(code):
            if message.id and isinstance(message.id, str):
                assert LANGUAGES[code].text(message.id) == message.string, "run `make setup`"
