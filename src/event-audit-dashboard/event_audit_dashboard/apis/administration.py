"""The routes of the notification service's API about users, tokens and the audit trail."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from auditflow.contract import access, audit
from event_audit_dashboard.apis.client import ApiClient, Caller, segment


class AdminApi:
    """Reads and changes users and tokens, and reads the audit trail. It is thread-safe."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def users(self, caller: Caller) -> access.UserList:
        """All people and their roles."""
        return self._client.get("/api/v1/users", caller, access.UserList)

    def put_user(self, name: str, role: access.Role, caller: Caller, *, disabled: bool) -> None:
        """Set the role of a person. A person who is not known yet is added."""
        body = {"role": role, "disabled": disabled}
        self._client.send("PUT", f"/api/v1/users?{urlencode({'name': name})}", caller, body=body)

    def tokens(self, caller: Caller) -> access.TokenList:
        """All API tokens, without their secrets."""
        return self._client.get("/api/v1/tokens", caller, access.TokenList)

    def issue_token(
        self, name: str, scopes: Sequence[str], days: int, caller: Caller
    ) -> access.IssuedToken:
        """Issue an API token. Only this answer contains the secret."""
        body = {"name": name, "scopes": list(scopes), "expires_in_days": days}
        return self._client.post("/api/v1/tokens", caller, access.IssuedToken, body)

    def revoke_token(self, token_id: str, caller: Caller) -> None:
        """Revoke an API token."""
        self._client.send("DELETE", f"/api/v1/tokens/{segment(token_id)}", caller)

    def trail(self, parameters: Mapping[str, str], caller: Caller) -> audit.AuditTrail:
        """What people and tokens did, the newest first, 100 on a page."""
        return self._client.get(audit.TRAIL_PATH, caller, audit.AuditTrail, parameters)

    def logs(self, caller: Caller) -> audit.AuditLogList:
        """The audit logs with their size and public key."""
        return self._client.get("/api/v1/audit/logs", caller, audit.AuditLogList)

    def checkpoint(self, log: str, caller: Caller) -> str:
        """The newest signed checkpoint of an audit log."""
        path = f"/api/v1/audit/{segment(log)}/checkpoint"
        return self._client.send("GET", path, caller).body.decode("utf-8", "replace")

    def inclusion(self, log: str, number: int, caller: Caller) -> audit.InclusionProof:
        """An entry of an audit log, and the proof that the tree contains it."""
        path = f"/api/v1/audit/{segment(log)}/entries/{number}"
        return self._client.get(path, caller, audit.InclusionProof)
