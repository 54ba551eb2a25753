"""The Grafana dashboards as code. ``make boards`` writes monitoring/boards/json/.

Each module contains one dashboard. ``panels`` contains the shared types.
"""
