"""Receivers under attack, and with real servers: HTTP sinks and an SMTP server."""

import datetime as dt
import ipaddress
import logging
import re
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notification_service.outbox.content import AlertLine, Content, RuleCount
from notification_service.receivers import apprise_sender, template_process
from notification_service.receivers.apprise_sender import AppriseSender, redact
from notification_service.receivers.delivery import DeliveryError, Message
from notification_service.receivers.links import Links
from notification_service.receivers.network import Addresses
from notification_service.receivers.rendering import Templates
from notification_service.receivers.secrets import SecretFiles
from notification_service.receivers.webhook import WebhookSender
from notification_service.routing.tree import Apprise, Webhook

NOW = dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC)
LINKS = Links("https://dash.example")
LOOPBACK = Addresses([ipaddress.ip_network("127.0.0.0/8")])
HOSTILE = (
    "eve\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script> {{ 7*7 }} <!channel> @everyone"
    " [click](http://evil.example) \u202egnp.exe\x00\x1b[31m"
)


def message(text: str = "alice", kind: str = "alerts") -> Message:
    line = AlertLine(
        alert_id=uuid.UUID(int=1), reason="new", rule="r", title=f"Burst {text}",
        description=f"7 failed logins of {text}", level="high", severity="WARNING",
        environment="prod", entity={"user": text}, actor=text, client_ip="203.0.113.7", host=text,
        resource=None, count=7, first_seen=NOW, last_seen=NOW, opened_at=NOW, runbook=None,
    )  # fmt: skip
    content = Content(
        kind=kind, group={"rule": "r"}, total=1, by_reason={"new": 1}, by_level={"high": 1},
        by_rule=(RuleCount("r", f"Burst {text}", 1),), alerts=(line,),
    )  # fmt: skip
    return Message(notification_id=uuid.uuid4(), receiver="team", content=content, created_at=NOW)


@pytest.fixture
def secrets(tmp_path: Path) -> SecretFiles:
    (tmp_path / "KEY").write_text("a-signing-key-of-the-tests-0001\n")
    return SecretFiles(tmp_path)


def webhook(url: str, secrets: SecretFiles, addresses: Addresses = LOOPBACK) -> WebhookSender:
    target = Webhook(url, None, "KEY")
    return WebhookSender(target, secrets=secrets, addresses=addresses, links=LINKS)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "::ffff:10.0.0.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not Addresses().permits(ipaddress.ip_address(address))


def test_public_and_allowed_addresses_are_permitted() -> None:
    assert Addresses().permits(ipaddress.ip_address("93.184.216.34"))
    assert Addresses().permits(ipaddress.ip_address("2606:2800:220:1::1"))
    assert LOOPBACK.permits(ipaddress.ip_address("::ffff:127.0.0.1"))
    assert not LOOPBACK.permits(ipaddress.ip_address("10.0.0.1"))


def test_a_private_address_is_refused_before_anything_is_sent(sink: Any, secrets: Any) -> None:
    for url in (sink.url, sink.url.replace("127.0.0.1", "localhost"),
                sink.url.replace("127.0.0.1", "[::ffff:127.0.0.1]")):  # fmt: skip
        with pytest.raises(DeliveryError, match="not a public address") as refused:
            webhook(url, secrets, Addresses()).send(message())
        assert refused.value.permanent
    assert sink.bodies == []


def test_a_name_is_resolved_once_so_that_rebinding_gains_nothing(
    sink: Any, secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a name that leads to a public address first, and to this machine after that
    lookups: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *args, **kwargs)
        lookups.append(host)
        address = "192.0.2.1" if len(lookups) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = sink.url.replace("127.0.0.1", "rebind.example")
    # 192.0.2.0/24 is for documentation: nothing answers there
    allowed = Addresses([ipaddress.ip_network("192.0.2.0/24")])

    with pytest.raises(DeliveryError):
        webhook(url, secrets, allowed).send(message())

    assert lookups == ["rebind.example"]
    assert sink.bodies == []


def test_redirects_are_checked(sink: Any, make_sink: Any, secrets: Any) -> None:
    # a redirect that keeps the method is followed, and signed again
    other = make_sink()
    sink.answers = [(307, {"Location": other.url})]
    assert webhook(sink.url, secrets).send(message()) == "127.0.0.1"
    assert len(other.received) == 1

    # to an address that is not allowed, to another protocol, without end, or as GET: it is not
    for status, location, why in (
        (307, "http://10.0.0.1/x", "not a public address"),
        (308, "file:///etc/passwd", "the target of the redirect"),
        (308, "gopher://127.0.0.1/", "the target of the redirect"),
        (302, other.url, "answered 302"),
    ):
        sink.answers = [(status, {"Location": location})]
        with pytest.raises(DeliveryError, match=why):
            webhook(sink.url, secrets).send(message())
    sink.answers = [(307, {"Location": sink.url})] * 9
    with pytest.raises(DeliveryError, match="more than 3 times"):
        webhook(sink.url, secrets).send(message())
    assert len(other.received) == 1


@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (404, True), (429, False), (500, False), (503, False)]
)
def test_transient_errors_are_distinguished_from_permanent_errors(
    sink: Any, secrets: Any, status: int, permanent: bool
) -> None:
    sink.answers = [(status, {"Retry-After": "7"})]
    with pytest.raises(DeliveryError) as failed:
        webhook(sink.url, secrets).send(message())
    assert failed.value.permanent is permanent
    assert failed.value.retry_after == (None if permanent else dt.timedelta(seconds=7))


def test_a_secret_of_a_url_is_not_in_an_error(secrets: Any, tmp_path: Path) -> None:
    (tmp_path / "URL").write_text("http://127.0.0.1:1/services/T0PSECRET")
    target = Webhook(None, "URL", "KEY")
    sender = WebhookSender(target, secrets=secrets, addresses=LOOPBACK, links=LINKS)
    with pytest.raises(DeliveryError) as failed:
        sender.send(message())
    assert "T0PSECRET" not in str(failed.value)


@pytest.mark.parametrize("form", ["text", "html", "chat"])
def test_hostile_texts_are_harmless(form: Any) -> None:
    rendered = Templates(LINKS).render(message(HOSTILE), form)

    assert "\n" not in rendered.subject
    assert "\r" not in rendered.body
    for harmful in ("\x00", "\x1b", "\u202e", "<script>"):
        if form == "text" and harmful == "<script>":
            continue  # plain text has no tags
        assert harmful not in rendered.body
    assert "49" not in rendered.body.replace("2026", "")
    assert not any(line.startswith("Bcc:") for line in rendered.body.splitlines())
    assert "https://dash.example/alerts/" in rendered.body
    if form == "chat":
        for harmful in ("<!channel>", "@everyone", "](http", "http://evil"):
            assert harmful not in rendered.body
            assert harmful not in rendered.subject


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}", "{{ alerts.__init__.__globals__ }}", "{{ nothing }}",
        "{% for i in range(999999999) %}{% endfor %}", "{{ alerts.append(1) }}", "{% include '/etc/passwd' %}",
        "{% include '../KEY' %}", "{{ 1 / 0 }}",
    ],
)  # fmt: skip
def test_a_template_cannot_leave_the_sandbox(tmp_path: Path, template: str) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (tmp_path / "KEY").write_text("secret")
    (folder / "chat.j2").write_text(template)
    rendered = Templates(LINKS, folder).render(message(), "chat")
    default = Templates(LINKS).render(message(), "chat")
    assert rendered.body.startswith(default.body)
    assert "default text, because the template chat.j2 failed" in rendered.body
    assert "secret" not in rendered.body


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 'a'|center(10**9) }}",
        "{{ '%999999999d'|format(1) }}",
        "{% set text %}{% for i in range(99999) %}{% for j in range(99999) %}aaaaaaaaaa{% endfor %}"
        "{% endfor %}{% endset %}{{ text }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}aaaaaaaaaa{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ 9 ** 999999999 }}",
        "{{ [[[0] * 9999] * 9999] * 9999 }}",
    ],
)
def test_a_template_cannot_exhaust_memory_or_time(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_process, "CPU_SECONDS", 1)  # the start needs a third of it
    (tmp_path / "chat.j2").write_text(template)
    rendered = Templates(LINKS, tmp_path).render(message(), "chat")
    assert re.search(r"chat\.j2 failed: (it needs more than|RecursionError)", rendered.body)
    assert "https://dash.example/alerts/" in rendered.body


def test_a_template_of_a_user_replaces_that_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "chat.j2").write_text("{{ headline }} {{ alerts[0].url }} {{ receiver }}")
    rendered = Templates(LINKS, tmp_path).render(message(HOSTILE), "chat")
    assert "https://dash.example/alerts/" in rendered.body
    assert "<!channel>" not in rendered.body
    # the other formats are those of the package
    expected = Templates(LINKS).render(message(HOSTILE), "text")
    assert Templates(LINKS, tmp_path).render(message(HOSTILE), "text") == expected


def test_a_template_has_no_secrets_in_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.j2").write_text("text")
    environments: list[Any] = []
    run = subprocess.run

    def recorded(*arguments: Any, **options: Any) -> Any:
        environments.append(options["env"])
        return run(*arguments, **options)

    monkeypatch.setattr(subprocess, "run", recorded)
    assert Templates(LINKS, tmp_path).render(message(), "text").body == "text\n"
    assert environments == [{}]


def mailer(url: str, tmp_path: Path) -> AppriseSender:
    (tmp_path / "MAIL").write_text(url)
    return AppriseSender(Apprise("MAIL"), secrets=SecretFiles(tmp_path), templates=Templates(LINKS))


def test_a_mail_has_a_plain_part_and_no_header_of_an_attacker(
    mailbox: tuple[Any, str], tmp_path: Path
) -> None:
    box, url = mailbox

    sent = message(HOSTILE)

    assert mailer(url, tmp_path).send(sent) == "E-Mail"

    ((recipients, mail),) = box.mails
    assert recipients == ["team@example.org"]
    assert mail["Bcc"] is None
    assert mail["Idempotency-Key"] == str(sent.notification_id)
    assert "Burst eve" in mail["Subject"]
    parts = {
        part.get_content_type(): part.get_content()
        for part in mail.walk()
        if not part.is_multipart()
    }
    assert {"text/plain", "text/html"} <= parts.keys()
    assert "https://dash.example/alerts/" in parts["text/plain"]
    assert "<script>" not in parts["text/html"]


def test_a_mail_server_that_refuses_is_an_error_without_secrets(
    mailbox: tuple[Any, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box, url = mailbox
    box.refuse = True
    caplog.set_level(logging.DEBUG)
    secret = url.replace("mailto://", "mailto://s3cretuser:s3cretpass@")

    with pytest.raises(DeliveryError, match="E-Mail did not accept the notification") as failed:
        mailer(secret, tmp_path).send(message())

    for text in (str(failed.value), caplog.text):
        assert "s3cret" not in text


def test_an_unknown_url_is_named_by_its_number_only(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="URL 1 in the secret MAIL") as failed:
        mailer("nonsense://t0psecret", tmp_path).send(message())
    assert "t0psecret" not in str(failed.value)


def test_parts_of_a_url_are_removed_from_reasons() -> None:
    url = "slack://TokenA/TokenB/TokenC/#channel"
    assert redact("failed for TokenB at https://x/TokenC", url) == "failed for *** at https://x/***"


@pytest.mark.parametrize("form", ["text", "html", "chat"])
def test_a_template_that_fails_for_one_alert_keeps_back_no_notification(
    tmp_path: Path, form: Any
) -> None:
    (tmp_path / f"{form}.j2").write_text("{% for a in alerts %}{{ a.runbook.upper() }}{% endfor %}")

    rendered = Templates(LINKS, tmp_path).render(message(HOSTILE), form)

    assert "https://dash.example/alerts/" in rendered.body
    assert f"the template {form}.j2 failed" in rendered.body
    assert "<script>alert" not in rendered.body or form == "text"


def test_an_html_template_that_makes_too_much_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "html.j2").write_text("{% for i in range(99999) %}ab{% endfor %}")

    rendered = Templates(LINKS, tmp_path).render(message(), "html")

    assert "produces more than 100000 characters" in rendered.body
    assert "https://dash.example/alerts/" in rendered.body


def test_an_attempt_skips_the_urls_that_took_the_notification(
    mailbox: tuple[Any, str], sink: Any, tmp_path: Path
) -> None:
    # Given a chat that works and a mail server that refuses, in one secret
    box, url = mailbox
    box.refuse = True
    chat = sink.url.replace("http://", "json://")
    sender = mailer(f"{chat}\n{url}", tmp_path)
    sent = message()
    with pytest.raises(DeliveryError, match="E-Mail did not accept") as failed:
        sender.send(sent)
    assert (len(sink.bodies), len(box.mails)) == (1, 0)
    assert not any("hook" in name or "127" in name for name in failed.value.delivered)

    # When the mail server works again
    box.refuse = False
    sender.send(msgspec.structs.replace(sent, delivered=failed.value.delivered))

    # Then only the mail is sent
    assert (len(sink.bodies), len(box.mails)) == (1, 1)
    # and another notification goes to both
    sender.send(message())
    assert (len(sink.bodies), len(box.mails)) == (2, 2)


def test_an_attempt_skips_the_recipients_who_have_the_mail(
    mailbox: tuple[Any, str], tmp_path: Path
) -> None:
    box, url = mailbox
    box.refused = {"away@example.org"}
    sender = mailer(url.replace("to=team@example.org", "to=team@example.org,away@example.org"),
                    tmp_path)  # fmt: skip
    sent = message()
    with pytest.raises(DeliveryError, match="E-Mail did not accept") as failed:
        sender.send(sent)

    box.refused = set()
    sender.send(msgspec.structs.replace(sent, delivered=failed.value.delivered))

    recipients = [recipient for to, _ in box.mails for recipient in to]
    assert sorted(recipients) == ["away@example.org", "team@example.org"]


def test_a_url_that_fails_does_not_keep_back_those_after_it(sink: Any, tmp_path: Path) -> None:
    chat = sink.url.replace("http://", "json://")
    sender = mailer(f"json://127.0.0.1:1/\nnonsense://x\n{chat}", tmp_path)

    with pytest.raises(DeliveryError, match=r"did not accept.*URL 2 in the secret MAIL"):
        sender.send(message())

    assert len(sink.bodies) == 1


def test_pagerduty_recognizes_a_repeat() -> None:
    service, _ = apprise_sender._open("pagerduty://a1b2c3d4e5f6@a1b2c3d4e5f6", "MAIL", 1)
    apprise_sender._set_key(service, "an-identifier")
    assert service.dedup == "an-identifier"

    chosen, _ = apprise_sender._open("pagerduty://a1b2c3d4e5f6@a1b2c3d4e5f6?dedup=own", "MAIL", 1)
    apprise_sender._set_key(chosen, "an-identifier")
    assert chosen.dedup == "own"
