"""The messages of the API as JSON that PostgreSQL builds from rows.

The columns are those of the contract's Structs, so that a new field needs no change here.
"""

from typing import Final

from auditflow.contract.alert import AlertSummary, FindingView

#: Findings that the detail of an alert shows.
MAX_FINDINGS: Final = 50
#: Total size of the complete events in a detail, in bytes. Older findings come without events.
MAX_EVENT_BYTES: Final = 2 * 1024 * 1024

_RISK: Final = (
    "coalesce((SELECT risk FROM entity_risk WHERE entity_kind = t.entity_kind"
    " AND entity_value = t.entity_value), 0)"
)
#: A text that is the same only if the summary is the same: each change of an alert gets a new
#: number from a sequence, and the risk is not part of the alert. With the time, it is different
#: also after a backup is restored, which resets the sequence.
VERSION: Final = f"t.change_seq || ' ' || t.updated_at || ' ' || {_RISK}"

#: Fields of a summary that are not a column of the same name.
_COMPUTED: Final = {
    "rule": "json_build_object('id', t.rule_id, 'title', t.rule_title, 'level', t.rule_level,"
    " 'tags', t.rule_tags, 'runbook', t.rule_runbook)",
    "risk": _RISK,
}
_FINDING_COMPUTED: Final = {
    "evidence": "json_build_object('events', f.evidence,"
    " 'first_event', CASE WHEN f.fits THEN f.first_event END,"
    " 'last_event', CASE WHEN f.fits THEN f.last_event END,"
    " 'events_omitted',"
    " NOT f.fits AND (f.first_event IS NOT NULL OR f.last_event IS NOT NULL))",
    "retro": "coalesce(f.retro, false)",
}


def _fields(kind: type, alias: str, computed: dict[str, str]) -> str:
    return ", ".join(
        f"{computed[name]} AS {name}" if name in computed else f"{alias}.{name}"
        for name in kind.__struct_fields__  # type: ignore[attr-defined]
    )


#: The fields of an ``AlertSummary``, from the table or subquery ``t``.
SUMMARY_FIELDS: Final = _fields(AlertSummary, "t", _COMPUTED)

#: A lateral subquery ``r`` of one ``AlertSummary``, to use after ``FROM alerts AS t``.
SUMMARY: Final = f"CROSS JOIN LATERAL (SELECT {SUMMARY_FIELDS}) AS r"

#: The versions of several alerts. Parameter: alerts.
DETAIL_VERSIONS: Final = f"""
    SELECT t.alert_id::text, {VERSION} FROM alerts AS t WHERE t.alert_id = ANY(%(alerts)s::uuid[])
"""

#: The ``AlertDetail`` of several alerts, without ``allowed_actions``, and their versions.
#: Parameters: alerts, findings, bytes.
DETAILS: Final = f"""
    SELECT d.alert_id::text, row_to_json(d)::text, version FROM (
        SELECT {SUMMARY_FIELDS}, t.finding_count AS findings_total, (
            SELECT coalesce(json_agg(row_to_json(v) ORDER BY v.last_seen DESC, v.finding_id DESC),
                            '[]')
            FROM (
                SELECT {_fields(FindingView, "f", _FINDING_COMPUTED)} FROM (
                    SELECT newest.*, sum(coalesce(octet_length(first_event::text), 0)
                                         + coalesce(octet_length(last_event::text), 0))
                        OVER (ORDER BY last_seen DESC, finding_id DESC) <= %(bytes)s::bigint AS fits
                    FROM (
                        SELECT * FROM findings WHERE findings.alert_id = t.alert_id
                        ORDER BY last_seen DESC, finding_id DESC LIMIT %(findings)s::bigint
                    ) AS newest
                ) AS f
            ) AS v
        ) AS findings
        FROM alerts AS t WHERE t.alert_id = ANY(%(alerts)s::uuid[])
    ) AS d CROSS JOIN LATERAL (
        SELECT {VERSION} AS version FROM alerts AS t WHERE t.alert_id = d.alert_id
    ) AS v
"""
