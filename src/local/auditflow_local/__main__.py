"""`python -m auditflow_local` is the same as `auditflow-local`."""

from auditflow_local.cli import main

main()
