"""Delivery pipeline: what to build, what each environment runs, and how changes are promoted."""
