"""Serves bare repositories over SSH to deploy keys, read-only, as a forge serves a private one.

Run as a program: ``python -m lab.sshserver FOLDER ADDRESS PORT HOST_KEY AUTHORIZED_KEYS``. The file
of authorized keys is read at each connection. Every user name is accepted, because only the key
decides.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from functools import partial
from pathlib import Path

import asyncssh

PORT = 2222
_COMMAND = "git-upload-pack"
_BLOCK = 65536
Source = asyncio.StreamReader | asyncssh.SSHReader[bytes]
Target = asyncio.StreamWriter | asyncssh.SSHWriter[bytes]


class Connection(asyncssh.SSHServer):
    """One connection, which must have an authorized key."""

    def __init__(self, authorized_keys: Path) -> None:
        self._authorized_keys = authorized_keys
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Store the connection."""
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Require a key of the file."""
        if self._connection is not None:
            self._connection.set_authorized_keys(str(self._authorized_keys))
        return True


async def handle(root: Path, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run git-upload-pack for a repository of the folder. Refuse everything else."""
    words = shlex.split(process.command or "")
    folder = (root / words[1].strip("/")).resolve() if len(words) == 2 else root
    if len(words) != 2 or words[0] != _COMMAND or folder.parent != root:
        process.stderr.write(b"only fetching a repository is permitted\n")
        process.exit(1)
        return
    git = await asyncio.create_subprocess_exec(
        *("git", "-c", "safe.directory=*", "upload-pack", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert git.stdin
    assert git.stdout
    assert git.stderr
    requests = asyncio.create_task(_copy(process.stdin, git.stdin))
    await asyncio.gather(_copy(git.stdout, process.stdout), _copy(git.stderr, process.stderr))
    requests.cancel()
    process.exit(await git.wait())


async def _copy(source: Source, target: Target) -> None:
    while data := await source.read(_BLOCK):
        target.write(data)
        await target.drain()


async def serve(
    root: Path, address: str, port: int, *, host_key: Path, authorized_keys: Path
) -> None:
    """Serve the repositories in a resolved folder until the process is stopped."""
    server = await asyncssh.listen(
        address,
        port,
        server_factory=lambda: Connection(authorized_keys),
        server_host_keys=[str(host_key)],
        process_factory=partial(handle, root),
        encoding=None,
    )
    await server.wait_closed()


if __name__ == "__main__":
    folder, host, number, key, keys = sys.argv[1:]
    asyncio.run(
        serve(
            Path(folder).resolve(),
            host,
            int(number),
            host_key=Path(key),
            authorized_keys=Path(keys),
        )
    )
