"""The names of this repository. ``gitops init`` replaces them, here and in all other files."""

from typing import Final

#: The user or organisation on GitHub.
OWNER: Final = "jojees"
#: The name of the repository.
REPOSITORY: Final = "project-genesis"
#: The DNS domain of the public host names: ``auditflow.<domain>``.
DOMAIN: Final = "example.org"
