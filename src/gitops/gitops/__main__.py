"""``python -m gitops``."""

from gitops.cli import main

main()
