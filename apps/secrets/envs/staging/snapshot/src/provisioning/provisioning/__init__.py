"""The users, permissions and secrets of each service, on every server.

``accounts`` lists them. ``rabbitmq`` and ``redis`` make the servers' configuration from this list.
``catalogue`` lists the Kubernetes Secrets, ``plan`` (pure) computes the missing ones, and
``certificates`` creates and renews the certificates of servers. ``kubernetes`` is the API server.
The Job ``secrets`` runs ``python -m provisioning`` in the public image of Python, so this package
uses only the standard library (except ``cli``).
"""
