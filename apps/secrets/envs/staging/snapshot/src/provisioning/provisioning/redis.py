"""ACL files of Redis and Redis Sentinel. They contain hashes of passwords only."""

import hashlib
from collections.abc import Mapping


def acl(users: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    """The content of an ACL file.

    ``users`` maps user names to ACL rules, ``passwords`` maps the same names to passwords.
    """
    # Nobody can log in as the default user. It keeps its permissions, because Redis is this user
    # when it loads its append-only file, and silently skips the commands that the user may not run.
    lines = ["user default off resetpass ~* &* +@all"]
    for user, rules in users.items():
        digest = hashlib.sha256(passwords[user].encode()).hexdigest()
        lines.append(f"user {user} on #{digest} {rules}")
    return "\n".join(lines) + "\n"
