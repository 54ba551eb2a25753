"""Rules: the list, one rule, the ATT&CK matrix, and proposals of exclusions."""

import datetime as dt
from typing import Final

import msgspec
from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from msgspec import Struct

from auditflow.contract.alert import AlertSummary
from auditflow.contract.level import Level
from auditflow.contract.statistics import RuleActivity, RuleStatistics
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.rules import (
    DAYS,
    Catalogue,
    CatalogueRule,
    Exclusion,
    LoadedRules,
    RulesApi,
    RuleSource,
)
from event_audit_dashboard.errors import ApiError, NotFound
from event_audit_dashboard.localization.translation import N_, Texts, gettext
from event_audit_dashboard.presentation import exclusions, sparkline
from event_audit_dashboard.query import Query
from event_audit_dashboard.runbooks import Runbooks
from event_audit_dashboard.views.alerts import link
from event_audit_dashboard.views.common import caller, person

#: Alerts of a rule over which proposals are computed: the newest.
SAMPLE: Final = 200
#: Rules on a page of the list.
MAX_ROWS: Final = 300
SORTS: Final = Texts(
    {
        "alerts": N_("Alerts"),
        "noise": N_("Noise"),
        "level": N_("Level"),
        "title": N_("Title"),
    }
)


class Row(Struct, frozen=True):
    """A rule with its activity. ``noise`` is the share of false positives of its verdicts."""

    rule: CatalogueRule
    activity: RuleActivity | None
    noise: float | None
    state: str


def blueprint(rules: RulesApi, api: NotificationService, runbooks: Runbooks) -> Blueprint:
    """``/rules``, ``/rules/detail``, ``/rules/attack`` and ``/rules/exclusion``."""
    pages = Blueprint("rules", __name__)

    @pages.get("/rules")
    def listing() -> ResponseReturnValue:
        catalogue, loaded = rules.catalogue(caller()), rules.loaded(caller())
        activity = _activity(rules.statistics(caller()))
        found = [
            _row(rule, activity.get(rule.id), loaded)
            for rule in catalogue.rules
            if not rule.feeds and _matches(rule, request.args.get("q", ""))
        ]
        sort = request.args.get("sort", "alerts")
        found.sort(key=lambda row: _order(row, sort if sort in SORTS else "alerts"))
        return render_template(
            "rules.html",
            rows=found[:MAX_ROWS],
            total=len(found),
            loaded=loaded,
            slow={str(item.rule.get("id")): item for item in loaded.slow},
            exclusions=catalogue.exclusions,
            today=dt.datetime.now(dt.UTC).date().isoformat(),
            q=request.args.get("q", ""),
            sort=sort,
            sorts=SORTS,
            days=DAYS,
            bars=sparkline.bars,
            link=link,
            Query=Query,
        )

    @pages.get("/rules/attack")
    def attack() -> ResponseReturnValue:
        catalogue = rules.catalogue(caller())
        activity = _activity(rules.statistics(caller()))
        titles = {rule.id: rule.title for rule in catalogue.rules}
        hits = {
            cell.id: sum(activity[rule].alerts for rule in cell.rules if rule in activity)
            for column in catalogue.matrix
            for cell in column.techniques
        }
        return render_template(
            "attack.html", matrix=catalogue.matrix, titles=titles, hits=hits, days=DAYS
        )

    _add_detail(pages, rules, runbooks)
    _add_exclusion(pages, rules, api)
    return pages


def _add_detail(pages: Blueprint, rules: RulesApi, runbooks: Runbooks) -> None:
    @pages.get("/rules/detail")
    def detail() -> ResponseReturnValue:
        rule_id = request.args.get("id", "")[:500]
        rule, texts, problem, catalogue = None, RuleSource(), None, Catalogue()
        try:
            catalogue = rules.catalogue(caller())
            rule = catalogue.rule(rule_id)
            texts = rules.source(rule_id, caller()) if rule else RuleSource()
        except ApiError as error:
            problem = error.text
        activity = _activity(rules.statistics(caller())).get(rule_id)
        # The page of an alert loads this page as a part. Its rule may be removed from the files.
        is_part = "HX-Request" in request.headers
        if rule is None and activity is None and problem is None and not is_part:
            raise NotFound(N_("there is no rule with this identifier"))
        return render_template(
            "rule.html",
            rule=rule,
            rule_id=rule_id,
            source=texts.source,
            tests=texts.tests,
            problem=problem,
            activity=activity,
            noise=_noise(activity),
            inputs=[found for item in rule.inputs if (found := catalogue.rule(item.id))]
            if rule
            else [],
            exclusions=_exclusions_of(rule, catalogue) if rule else [],
            runbook=runbooks.find(rule.runbook) if rule else None,
            days=DAYS,
            bars=sparkline.bars,
            link=link,
            Query=Query,
        )


def _add_exclusion(pages: Blueprint, rules: RulesApi, api: NotificationService) -> None:
    @pages.get("/rules/exclusion")
    def exclusion() -> ResponseReturnValue:
        rule = rules.catalogue(caller()).rule(request.args.get("id", ""))
        if rule is None:
            raise NotFound(N_("there is no rule with this identifier"))
        alerts = _sample(api, rule.id)
        proposals = exclusions.propose(alerts)
        chosen = {
            name: value
            for name in exclusions.FIELDS
            if (value := request.args.get(name, "").strip()[:200])
        }
        if not chosen and proposals:
            chosen = proposals[0].selection
        sources = rule.inputs
        text = ""
        if chosen:
            text = exclusions.write(
                chosen,
                title=rule.title,
                rules=[item.id for item in sources] or [rule.id],
                logsource=sources[0].logsource if sources else rule.logsource,
                owner=person(),
                reason=request.args.get("reason", "").strip()[:500]
                or gettext("State the reason here"),
                today=dt.datetime.now(dt.UTC).date(),
            )
        return render_template(
            "exclusion.html",
            rule=rule,
            proposals=proposals,
            chosen=chosen,
            preview=exclusions.count(chosen, alerts) if chosen else None,
            hidden=[
                alert for alert in alerts
                if chosen and chosen.items() <= exclusions.values_of(alert).items()
            ],
            sample=len(alerts),
            text=text,
            reason=request.args.get("reason", ""),
            folder=rule.file.rpartition("/")[0],
        )  # fmt: skip


def _sample(api: NotificationService, rule_id: str) -> list[AlertSummary]:
    page = api.alerts({"rule": rule_id}, caller(), limit=SAMPLE)
    return [msgspec.json.decode(bytes(raw), type=AlertSummary) for raw in page.alerts]


def _activity(statistics: RuleStatistics) -> dict[str, RuleActivity]:
    return {item.rule: item for item in statistics.rules}


def _row(rule: CatalogueRule, activity: RuleActivity | None, loaded: LoadedRules) -> Row:
    staged = {str(item.rule.get("id")) for item in loaded.rules if item.staged}
    state = "active" if rule.id in loaded.active else "not loaded"
    return Row(rule, activity, _noise(activity), "staged" if rule.id in staged else state)


def _noise(activity: RuleActivity | None) -> float | None:
    if activity is None:
        return None
    judged = activity.false_positive + activity.true_positive + activity.benign
    return activity.false_positive / judged if judged else None


def _matches(rule: CatalogueRule, text: str) -> bool:
    known = " ".join((rule.title, rule.id, rule.file, *rule.tags)).lower()
    return all(word in known for word in text.lower().split())


def _order(row: Row, sort: str) -> tuple[float, str]:
    alerts = row.activity.alerts if row.activity else 0
    level = list(Level).index(Level(row.rule.level)) if row.rule.level in list(Level) else -1
    first = {"alerts": -alerts, "noise": -(row.noise or 0), "level": -level, "title": 0}[sort]
    return float(first), row.rule.title.lower()


def _exclusions_of(rule: CatalogueRule, catalogue: Catalogue) -> list[Exclusion]:
    names = {rule.id, *(item.id for item in rule.inputs)}
    return [item for item in catalogue.exclusions if not item.rules or names & {*item.rules}]
