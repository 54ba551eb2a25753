"""Given the Secrets that exist, which are to be made, and with what in them. Pure."""

import secrets
from collections.abc import Callable, Iterator, Mapping

from auditflow.errors import AuditFlowError
from auditflow.provisioning.catalogue import SECRETS, Catalogue, Document, Value

#: The contents of one Secret, by key.
Data = Mapping[str, str]


class ProvisioningError(AuditFlowError):
    """The Secrets cannot be completed. The text says which, why, and what to do."""


def plan(
    existing: Mapping[str, Data],
    *,
    catalogue: Catalogue = SECRETS,
    new_value: Callable[[], str] = lambda: secrets.token_hex(20),
) -> dict[str, dict[str, str]]:
    """The Secrets to make, in the order in which to make them. None that exists is among them.

    A value that is in an existing Secret is used again. Documents come last: whoever stops half-way
    and starts anew finds all that they were made of.

    Raises:
        ProvisioningError: what exists contradicts itself, or lacks a key.
    """
    values = _known(existing, catalogue)
    _check_documents(existing, values, catalogue)
    made: dict[str, dict[str, str]] = {}
    absent = [name for name in catalogue if name not in existing]
    for name in sorted(absent, key=lambda name: _has_document(catalogue[name])):
        made[name] = {}
        for key, content in catalogue[name].items():
            if isinstance(content, Document):
                made[name][key] = content.write(values)
            else:
                made[name][key] = values.setdefault(content.name, new_value())
    return made


def _has_document(contents: Mapping[str, Value | Document]) -> bool:
    return any(isinstance(content, Document) for content in contents.values())


def _known(existing: Mapping[str, Data], catalogue: Catalogue) -> dict[str, str]:
    values: dict[str, str] = {}
    found_in: dict[str, str] = {}
    for name, key, content in _entries(existing, catalogue):
        if key not in existing[name]:
            raise ProvisioningError(
                f"Secret {name} has no key {key}. Add it, or delete the Secret: it is made anew,"
                " and with it all the values that it alone has"
            )
        if isinstance(content, Document):
            continue
        value = existing[name][key].strip()
        if values.setdefault(content.name, value) != value:
            raise ProvisioningError(
                f"Secrets {found_in[content.name]} and {name} do not agree on {content.name}."
                " Delete the one that is wrong"
            )
        found_in.setdefault(content.name, name)
    return values


def _check_documents(existing: Mapping[str, Data], values: Data, catalogue: Catalogue) -> None:
    for name, _, content in _entries(existing, catalogue):
        if not isinstance(content, Document):
            continue
        lost = [value for value in content.values if value not in values]
        if lost:
            raise ProvisioningError(
                f"Secret {name} knows the hash of {', '.join(lost)}, but no Secret has the value"
                f" any more. Delete {name} too: it is made anew"
            )


def _entries(
    existing: Mapping[str, Data], catalogue: Catalogue
) -> Iterator[tuple[str, str, Value | Document]]:
    for name, contents in catalogue.items():
        if name in existing:
            for key, content in contents.items():
                yield name, key, content
