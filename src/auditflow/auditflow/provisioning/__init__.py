"""Makes the Kubernetes Secrets that an environment needs and does not have: none is in git.

``catalogue`` says what there is, ``plan`` (pure) what is missing and what goes into it, and
``kubernetes`` reads and creates. Run as ``python -m auditflow.provisioning`` in a pod.
"""
