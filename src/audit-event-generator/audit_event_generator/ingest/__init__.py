"""Foreign records become events. Pure: bytes in, events or faults out.

``batch.take`` drives an adapter over records; each adapter (``native``, ``kubernetes``,
``cloudtrail``, ``auditd``, ``github``, ``okta``, ``gcp``) turns one record into an ``Event`` or
raises ``ContractError``. ``sources`` names them all.
"""
