"""The schema, step by step. A step is never changed once it was released; a new one follows it.

A step must leave the previous version of the service working (add first, remove a version later).
"""
