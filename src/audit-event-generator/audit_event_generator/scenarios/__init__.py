"""Synthetic audit events of a small company. Pure, and reproducible by a seed.

``workload.generate`` mixes ``attacks`` with ``routine_work``. ``company`` has the people and hosts;
``event_templates`` has the kinds of events.
"""
