"""Saved views of the alert list."""

import datetime as dt
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

MAX_VIEW_NAME: Final = 60
MAX_VIEW_QUERY: Final = 2_000

ViewName = Annotated[
    str, Meta(min_length=1, max_length=MAX_VIEW_NAME, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")
]
ViewQuery = Annotated[
    str,
    Meta(
        max_length=MAX_VIEW_QUERY,
        pattern=r"^[!-~]*$(?!\n)",
        description="The query of the list's URL, percent-encoded.",
    ),
]


class SavedView(Struct, frozen=True, kw_only=True):
    """A filter and order of the alert list, with a name."""

    view_id: UUID
    name: str
    query: ViewQuery
    shared: Annotated[bool, Meta(description="All people see it. Otherwise only the owner does.")]
    owner: str
    created_at: dt.datetime


class SavedViewList(Struct, frozen=True):
    """The caller's views and all shared views, by name."""

    views: tuple[SavedView, ...]


class SavedViewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view to save. It replaces the caller's view with the same name."""

    name: ViewName
    query: ViewQuery
    shared: bool = False
