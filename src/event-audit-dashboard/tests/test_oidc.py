"""Sign-in through a real OpenID provider, roles of groups, and back-channel logout."""

import hmac
import io
import json
import re
import shutil
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

from auditflow_local.polling import eventually
from auditflow_local.ports import pick
from event_audit_dashboard.access.oidc import InvalidLogoutToken, check_logout

FOLDER = Path(__file__).parent / "oidc"
ROLES = "security=analyst,platform=lead"


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"provider": pick(), "dashboard": pick()}


@pytest.fixture(scope="module")
def issuer(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a provider that knows the dashboard as its client."""
    folder = tmp_path_factory.mktemp("oidc")
    for name in ("package.json", "package-lock.json", "provider.js"):
        shutil.copy(FOLDER / name, folder)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    site = f"http://127.0.0.1:{ports['dashboard']}"
    arguments = [str(ports["provider"]), f"{site}/oidc/callback", f"{site}/oidc/logout"]
    with subprocess.Popen(
        ["node", "provider.js", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                break
        yield f"http://127.0.0.1:{ports['provider']}"
        process.terminate()


@pytest.fixture
def settings(issuer: str) -> dict[str, Any]:
    return {
        "oidc_issuer": issuer,
        "oidc_client_id": "auditflow",
        "oidc_client_secret": "secret-of-the-tests",
        "oidc_name": "Example",
        "oidc_scopes": "openid profile groups",
        "oidc_user_claim": "preferred_username",
    }


@pytest.fixture
def serve(make: Any, settings: Any, ports: dict[str, int]) -> Iterator[Any]:
    """Starts the dashboard at the address that the provider knows."""
    servers = []

    def start(wrap: Any = lambda app: app, **changes: Any) -> str:
        app = wrap(make(**{**settings, **changes}))
        server = make_server("127.0.0.1", ports["dashboard"], app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{ports['dashboard']}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


class Browser:
    """A browser that fills in the forms of the provider."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.http = httpx.Client(timeout=60)

    def follow(self, answer: httpx.Response) -> httpx.Response:
        while answer.is_redirect:
            answer = self.http.get(urljoin(str(answer.url), answer.headers["Location"]))
        return answer

    def to_provider(self, **query: str) -> httpx.Response:
        """The page of sign-in of the provider."""
        return self.follow(self.http.get(f"{self.site}/oidc/login", params=query))

    def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        action = re.search(r'action="([^"]+)"', page.text)
        assert action, page.text
        hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
        url = urljoin(str(page.url), action[1])
        return self.follow(self.http.post(url, data={**hidden, **fields}))

    def sign_in(self, user: str, **query: str) -> httpx.Response:
        page = self.submit(self.to_provider(**query), login=user, password="any")
        if "/interaction/" in str(page.url):  # the consent
            page = self.submit(page)
        return page

    def is_signed_in(self) -> bool:
        return self.http.get(f"{self.site}/settings").status_code == 200


@pytest.fixture
def browser(serve: Any) -> Iterator[Browser]:
    browser = Browser(serve(oidc_roles=ROLES))
    yield browser
    browser.http.close()


def test_a_user_signs_in_with_pkce_and_gets_the_highest_role_of_the_groups(
    browser: Browser, api: Any
) -> None:
    assert "Sign in with Example" in browser.http.get(f"{browser.site}/login").text
    start = browser.http.get(f"{browser.site}/oidc/login")
    query = parse_qs(urlsplit(start.headers["Location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= query.keys()

    page = browser.sign_in("carol", next="/settings")

    assert page.status_code == 200
    assert str(page.url) == f"{browser.site}/settings"
    assert "<strong>carol</strong>" in page.text
    assert [body["role"] for _, body in api.roles_set] == ["lead"]
    assert [name for name, _ in api.roles_set] == ["carol"]


def test_a_user_without_a_group_that_has_a_role_is_refused(browser: Browser, api: Any) -> None:
    page = browser.sign_in("mallory")

    assert page.status_code == 403
    assert "None of your groups has access" in page.text
    assert not browser.is_signed_in()
    assert api.roles_set == []


def test_a_user_of_the_provider_cannot_be_the_built_in_account(browser: Browser) -> None:
    page = browser.sign_in("admin")

    assert page.status_code == 403
    assert "built-in account" in page.text


def test_a_disabled_user_is_refused(browser: Browser, api: Any) -> None:
    api.disabled = {"alice"}

    page = browser.sign_in("alice")

    assert page.status_code == 403
    assert "disabled your access" in page.text
    assert api.roles_set == []  # setting the role would enable the user


def test_without_roles_of_groups_the_role_comes_from_the_api(serve: Any, api: Any) -> None:
    api.role = "viewer"
    browser = Browser(serve())

    page = browser.sign_in("mallory", next="/settings")

    assert "role <strong>viewer</strong>" in page.text
    assert api.roles_set == []
    browser.http.close()


def test_a_callback_that_this_browser_did_not_start_is_refused(browser: Browser) -> None:
    page = browser.submit(browser.to_provider(), login="alice", password="any")
    # The victim's browser opens the address that the attacker's browser was sent to.
    action = re.search(r'action="([^"]+)"', page.text)
    assert action
    answer = browser.http.post(urljoin(str(page.url), action[1]), data={"prompt": "consent"})
    while "/oidc/callback" not in answer.headers["Location"]:
        answer = browser.http.get(urljoin(str(answer.url), answer.headers["Location"]))
    with httpx.Client() as victim:
        refused = victim.get(answer.headers["Location"])

    assert refused.status_code == 403


def test_the_provider_ends_the_session_that_its_user_ends(browser: Browser, issuer: str) -> None:
    browser.sign_in("alice")
    other = Browser(browser.site)
    other.sign_in("carol")
    assert browser.is_signed_in()

    page = browser.http.get(f"{issuer}/session/end")
    browser.submit(page, logout="yes")

    eventually(lambda: not browser.is_signed_in(), what="the end of the session")
    assert other.is_signed_in()
    other.http.close()


def test_a_logout_token_of_the_provider_ends_sessions_once(serve: Any, issuer: str) -> None:
    """An attacker who has recorded a genuine token cannot end later sessions with it."""
    received: list[bytes] = []

    def recording(app: Any) -> Any:
        def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/oidc/logout":
                body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                received.append(body)
                environ["wsgi.input"] = io.BytesIO(body)
            return app(environ, start_response)

        return wrapped

    browser = Browser(serve(wrap=recording, oidc_roles=ROLES))
    browser.sign_in("alice")
    browser.submit(browser.http.get(f"{issuer}/session/end"), logout="yes")
    eventually(lambda: not browser.is_signed_in(), what="the end of the session")
    [genuine] = received
    browser.sign_in("alice")
    assert browser.is_signed_in()

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(
            lambda _: httpx.post(f"{browser.site}/oidc/logout", content=genuine, headers=form),
            range(8),
        )
        assert {(answer.status_code, answer.text) for answer in answers} == {
            (400, "repeated logout_token")
        }
    assert browser.is_signed_in()
    browser.http.close()


def tokens_without_the_key(claims: dict[str, Any], public: dict[str, Any]) -> Iterator[str]:
    """Tokens that a verifier accepts if it trusts the header of a token."""

    def part(value: dict[str, Any]) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for algorithm in ("none", "None", "NONE", ""):
        for header in ({"alg": algorithm}, {"alg": algorithm, "kid": public["kid"]}):
            yield f"{part(header)}.{part(claims)}."
    # HMAC with the public key, which everybody has, as the secret
    key = RSAKey.import_key(public)
    for secret in (key.as_pem(private=False), json.dumps(public).encode(), b""):
        signed = f"{part({'alg': 'HS256', 'kid': public['kid']})}.{part(claims)}"
        digest = hmac.new(secret, signed.encode(), "sha256").digest()
        yield f"{signed}.{urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    # the attacker's key in the header of the token
    own = RSAKey.generate_key(2048, {"kid": "own"})
    public_part = own.as_dict(private=False)
    yield jwt.encode({"alg": "RS256", "jwk": public_part}, claims, own)
    yield jwt.encode({"alg": "RS256", "kid": "own", "jwk": public_part}, claims, own)
    yield jwt.encode({"alg": "RS256", "kid": "../../dev/null"}, claims, own)


def test_a_logout_token_with_another_signature_is_rejected(browser: Browser, issuer: str) -> None:
    browser.sign_in("alice")
    now = int(time.time())
    claims = {
        "iss": issuer, "aud": "auditflow", "iat": now, "exp": now + 60, "jti": "1", "sub": "alice",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }  # fmt: skip
    keys = httpx.get(f"{issuer}/jwks").json()["keys"]
    forged = jwt.encode({"alg": "RS256", "kid": keys[0]["kid"]}, claims, RSAKey.generate_key(2048))

    for token in (forged, *tokens_without_the_key(claims, keys[0]), "", "a.b.c", "e30.e30."):
        answer = browser.http.post(f"{browser.site}/oidc/logout", data={"logout_token": token})
        assert answer.status_code == 400
    assert browser.is_signed_in()


CLAIMS = {
    "iss": "https://id.example", "aud": ["auditflow"], "iat": 1_000, "exp": 1_060, "jti": "1",
    "sid": "s", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"events": {}},
        {"nonce": "n"},
        {"iat": 100},
        {"iat": 5_000},
        {"iat": "now"},
        {"exp": 100},
        {"jti": None},
        {"sid": "", "sub": ""},
        {"sub": ["a"]},
    ],
)
def test_a_logout_token_with_a_wrong_claim_is_rejected(change: dict[str, Any]) -> None:
    check_logout(CLAIMS, issuer="https://id.example", client="auditflow", now=1_010)
    with pytest.raises(InvalidLogoutToken):
        check_logout(
            {**CLAIMS, **change}, issuer="https://id.example", client="auditflow", now=1_010
        )


def test_an_unreachable_provider_leaves_the_local_account(
    make: Any, user: Any, settings: Any
) -> None:
    app = make(**{**settings, "oidc_issuer": f"http://127.0.0.1:{pick()}"})
    person = user(app)

    page = person.get("/oidc/login")

    assert page.status_code == 503
    assert "identity provider cannot be reached" in page.text
    assert person.sign_in().status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"oidc_issuer": "http://id.example"},
        {"oidc_client_id": ""},
        {"oidc_roles": "security=root"},
        {"oidc_roles": "security"},
    ],
)
def test_contradictory_settings_are_rejected(make: Any, change: dict[str, str]) -> None:
    valid = {
        "oidc_issuer": "https://id.example", "oidc_client_id": "a", "oidc_client_secret": "b",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"OIDC|https|group=role"):
        make(**{**valid, **change})
