"""The boards of Grafana as code: ``make boards`` writes monitoring/boards/json/ from here.

A module for each board; ``panels`` is what they have in common.
"""
