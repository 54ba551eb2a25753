"""Fake programs that replace gh, cosign and Trivy, which need the internet."""

import json
from pathlib import Path
from typing import Any

from .forge import Programs, digest

#: A fake gh with the commands that this package uses. A file contains the state of GitHub. Like gh,
#: it refuses unknown options, so that a misspelt option fails the test.
GH = """
import argparse, json, os, pathlib, sys
file = pathlib.Path(os.environ["FAKE_GITHUB"])
state = json.loads(file.read_text())
parser = argparse.ArgumentParser()
groups = parser.add_subparsers(dest="group", required=True)
pr = groups.add_parser("pr").add_subparsers(dest="verb", required=True)
create = pr.add_parser("create")
for name in ("head", "base", "title", "body-file"):
    create.add_argument(f"--{name}", required=True)
create.add_argument("--label", action="append", default=[])
edit = pr.add_parser("edit")
edit.add_argument("number")
for name in ("title", "body-file"):
    edit.add_argument(f"--{name}")
for name in ("add-label", "remove-label"):
    edit.add_argument(f"--{name}", action="append", default=[])
listing = pr.add_parser("list")
for name in ("head", "base", "state", "json"):
    listing.add_argument(f"--{name}", required=True)
view = pr.add_parser("view")
view.add_argument("number")
view.add_argument("--json", required=True)
merge = pr.add_parser("merge")
merge.add_argument("number")
for name in ("auto", "squash", "disable-auto"):
    merge.add_argument(f"--{name}", action="store_true")
close = pr.add_parser("close")
close.add_argument("number")
close.add_argument("--comment")
label = groups.add_parser("label").add_subparsers(dest="verb", required=True).add_parser("create")
label.add_argument("name")
label.add_argument("--force", action="store_true")
label.add_argument("--color")
groups.add_parser("auth").add_subparsers(dest="verb", required=True).add_parser("setup-git")
api = groups.add_parser("api")
api.add_argument("path")
for name in ("paginate", "slurp"):
    api.add_argument(f"--{name}", action="store_true")
for name in ("method", "field"):
    api.add_argument(f"--{name}")
given = parser.parse_args()
pulls = state["pulls"]
output = ""
if state.get("down"):
    sys.exit("HTTP 502: Server Error")
def existing(names):
    for name in names:
        if name not in state["labels"]:
            sys.exit(f"could not add label: '{name}' not found")
    return names
if given.group == "auth":
    pass
elif given.group == "label":
    if given.name not in state["labels"]:
        state["labels"].append(given.name)
elif given.group == "api":
    number = given.path.split("/")[-2]
    comments = state["comments"]
    if given.method is None:
        here = [comment for comment in comments if str(comment["issue"]) == number]
        output = json.dumps([here[:1], here[1:]])
    elif given.method == "POST":
        comments.append({"id": len(comments) + 1, "issue": int(number), "body": sys.stdin.read(), "user": {"type": "Bot"}})
    else:
        comments[int(given.path.split("/")[-1]) - 1]["body"] = sys.stdin.read()
elif given.verb == "create":
    pulls.append({"number": len(pulls) + 1, "url": f"https://github.com/o/r/pull/{len(pulls) + 1}",
                  "head": given.head, "base": given.base, "title": given.title, "body": sys.stdin.read(),
                  "labels": existing(given.label), "auto": False, "state": "open", "fork": False})
elif given.verb == "list":
    output = json.dumps([{"number": pull["number"], "url": pull["url"], "isCrossRepository": pull["fork"]}
                         for pull in pulls if pull["head"] == given.head
                         and pull["base"] == given.base and pull["state"] == given.state])
else:
    pull = pulls[int(given.number) - 1]
    if given.verb == "edit":
        if given.title:
            pull["title"], pull["body"] = given.title, sys.stdin.read()
        pull["labels"] = [x for x in pull["labels"] if x not in given.remove_label]
        pull["labels"] += [x for x in existing(given.add_label) if x not in pull["labels"]]
    elif given.verb == "view":
        output = json.dumps({"autoMergeRequest": {"by": "bot"} if pull["auto"] else None,
                           "labels": [{"name": name} for name in pull["labels"]]})
    elif given.verb == "merge":
        pull["auto"] = given.auto and not given.disable_auto
    elif given.verb == "close":
        pull["state"] = "closed"
file.write_text(json.dumps(state))
print(output)
"""


class FakeGitHub:
    """The state of the fake GitHub."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.write({"pulls": [], "comments": [], "labels": []})

    def read(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())

    def write(self, state: dict[str, Any]) -> None:
        self.file.write_text(json.dumps(state))

    def numbers(self) -> list[int]:
        return [pull["number"] for pull in self.read()["pulls"]]

    def pull(self, number: int) -> dict[str, Any]:
        return self.read()["pulls"][number - 1]

    def add(self, head: str, **more: Any) -> None:
        state = self.read()
        number = len(state["pulls"]) + 1
        pull = {
            "number": number,
            "url": f"https://github.com/o/r/pull/{number}",
            "head": head,
            "base": "main",
            "title": "t",
            "body": "b",
            "labels": [],
            "auto": False,
            "state": "open",
            "fork": False,
        }
        state["pulls"].append({**pull, **more})
        self.write(state)

    def add_comment(self, number: int, body: str, kind: str = "User") -> None:
        state = self.read()
        state["comments"].append(
            {
                "id": len(state["comments"]) + 1,
                "issue": number,
                "body": body,
                "user": {"type": kind},
            }
        )
        self.write(state)


#: A cosign that accepts only the signature of this repository's build on main.
SIGNED = """
identity=https://github.com/jojees/project-genesis/.github/workflows/build-single-service.yml@refs/heads/main
[ "$1" = verify ] && [ "$2" = "--certificate-identity=$identity" ] &&
  [ "$3" = "--certificate-oidc-issuer=https://token.actions.githubusercontent.com" ] && exit 0
echo "none of the expected identities matched" >&2
exit 1
"""


def cosign(programs: Programs, script: str) -> None:
    programs.add("cosign", script)


def trivy(
    programs: Programs,
    found: dict[int, list[str]] | None,
    *,
    fixed: str = "",
    severity: str = "HIGH",
) -> None:
    """A fake Trivy that reports the given vulnerabilities by the number in an image's digest.

    With None, it reports no vulnerabilities for every image.
    """
    reports = {
        digest(number): report(*names, fixed=fixed, severity=severity)
        for number, names in (found or {}).items()
    }
    unknown = "None" if found is not None else json.dumps(report())
    programs.add(
        "trivy",
        f"""
import json, sys
reports = json.loads('''{json.dumps(reports)}''')
output = next(word.split("=", 1)[1] for word in sys.argv if word.startswith("--output="))
assert "--format=json" in sys.argv, sys.argv
found = reports.get(sys.argv[-1].split("@")[1], {unknown})
if found is None:
    sys.exit("unable to find the image")
open(output, "w").write(json.dumps(found))
""",
        language="python",
    )


def report(*names: str, fixed: str = "", severity: str = "HIGH") -> dict[str, object]:
    return {
        "SchemaVersion": 2,
        "Results": [
            {
                "Target": "python",
                "Vulnerabilities": [
                    {"VulnerabilityID": name, "PkgName": "a", "InstalledVersion": "1", "Severity": severity, **({"FixedVersion": fixed} if fixed else {})}
                    for name in names
                ],
            },
            {"Target": "Dockerfile", "Class": "config", "Misconfigurations": []},
        ],
    }  # fmt: skip
