"""Triage by keyboard and in bulk, in Chromium."""

from typing import Any

import pytest
from playwright.sync_api import expect

from .browser import MonitoredPage, opened

pytestmark = pytest.mark.browser


def test_an_alert_is_finished_with_two_keys(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site, "/alerts?status=open")
    first, second = opened(many)[:2]
    page.keyboard.press("j")
    expect(page.locator("#rows > tr.current")).to_have_attribute("id", f"a-{first['alert_id']}")
    page.keyboard.press("e")
    page.keyboard.press("f")
    # The row leaves the list of open alerts, and the next row is the current row.
    expect(page.get_by_text("1 alert resolved: False positive")).to_be_visible()
    assert first["verdict"] == "false_positive"
    expect(page.locator("#rows > tr.current")).to_have_attribute("id", f"a-{second['alert_id']}")
    page.keyboard.press("u")
    expect(page.get_by_text("Undone for 1 alert")).to_be_visible()
    assert first["status"] == "open"
    desk.check()


def test_a_selection_is_acknowledged_with_one_comment(
    monitored: MonitoredPage, site: str, many: Any
) -> None:
    page = monitored.page
    monitored.sign_in(site, "/alerts?status=open")
    boxes = page.locator("#rows input[name=id]")
    boxes.nth(0).check()
    boxes.nth(2).check()
    expect(page.locator("#picked")).to_have_text("2 selected")
    page.get_by_label("Comment").fill("planned work")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("2 alerts acknowledged")).to_be_visible()
    assert [entry["comment"] for entry in many.history] == ["planned work"] * 2
    boxes.nth(1).check()
    expect(page.get_by_label("Comment")).to_have_value("")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone for 2 alerts")).to_be_visible()
    monitored.check()


def test_x_selects_and_the_palette_runs_commands(desk: MonitoredPage, site: str, many: Any) -> None:
    page = desk.page
    desk.sign_in(site, "/alerts?status=open")
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("#picked")).to_have_text("2 selected")
    page.keyboard.press("Control+k")
    page.keyboard.type("acknow")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 alerts acknowledged")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Next alert")
    help_text = page.locator("#help-body")
    expect(help_text.locator("div", has_text="Resolve as: Benign").locator("kbd")).to_have_text(
        "e b"
    )
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/alerts?status=open%2Cacknowledged")
    desk.check()
