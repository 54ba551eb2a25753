"""The Lua scripts, each concatenated from its parts."""

from functools import cache
from importlib.resources import files
from typing import Final

from audit_analysis.windows.layout import LUA_CONSTANTS

OBSERVE: Final = ("prelude", "shard", "small", "large", "sketch", "observe")
RELIEVE: Final = ("prelude", "shard", "relieve")
STORE_EVENTS: Final = ("store_events",)


@cache
def text(parts: tuple[str, ...], *, allow_oom: bool = False) -> str:
    """The text of a script. With ``allow_oom`` it runs although Redis has no memory left."""
    constants = "".join(f"local {name} = {value}\n" for name, value in LUA_CONSTANTS.items())
    folder = files("audit_analysis.windows") / "lua"
    body = "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
    return ("#!lua flags=allow-oom\n" if allow_oom else "") + constants + body
