"""Computes which Secrets are missing, and their contents. Pure."""

import secrets
from collections.abc import Callable, Iterator, Mapping

from auditflow.errors import AuditFlowError
from provisioning.catalogue import SECRETS, Catalogue, Document, Value

#: The contents of one Secret, by key.
Data = Mapping[str, str]


class ProvisioningError(AuditFlowError):
    """The Secrets cannot be completed. The text states which Secret, the reason and the fix."""


def plan(
    existing: Mapping[str, Data],
    *,
    catalogue: Catalogue = SECRETS,
    new_value: Callable[[], str] = lambda: secrets.token_hex(20),
) -> dict[str, dict[str, str]]:
    """The Secrets to create, in the order in which to create them.

    Values of existing Secrets are used again. Secrets with documents come last, so that a run after
    an interruption still finds all values that the documents were made from.

    Raises:
        ProvisioningError: existing Secrets contradict each other, or one lacks a key.
    """
    values = _existing_values(existing, catalogue)
    _check_documents(existing, values, catalogue)
    created: dict[str, dict[str, str]] = {}
    missing = [name for name in catalogue if name not in existing]
    for name in sorted(missing, key=lambda name: _has_document(catalogue[name])):
        created[name] = {}
        for key, content in catalogue[name].items():
            if isinstance(content, Document):
                created[name][key] = content.write(values)
            else:
                created[name][key] = values.setdefault(content.name, new_value())
    return created


def _has_document(contents: Mapping[str, Value | Document]) -> bool:
    return any(isinstance(content, Document) for content in contents.values())


def _existing_values(existing: Mapping[str, Data], catalogue: Catalogue) -> dict[str, str]:
    values: dict[str, str] = {}
    found_in: dict[str, str] = {}
    for name, key, content in _entries(existing, catalogue):
        if key not in existing[name]:
            raise ProvisioningError(
                f"Secret {name} has no key {key}. Add the key, or delete the Secret: it is created"
                " again, with new values for all keys that no other Secret has"
            )
        if isinstance(content, Document):
            continue
        value = existing[name][key].strip()
        if values.setdefault(content.name, value) != value:
            raise ProvisioningError(
                f"Secrets {found_in[content.name]} and {name} have different values for"
                f" {content.name}. Delete the wrong one"
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
                f"Secret {name} contains the hash of {', '.join(lost)}, but no Secret contains the"
                f" value. Delete {name} too: it is created again"
            )


def _entries(
    existing: Mapping[str, Data], catalogue: Catalogue
) -> Iterator[tuple[str, str, Value | Document]]:
    for name, contents in catalogue.items():
        if name in existing:
            for key, content in contents.items():
                yield name, key, content
