"""Mutation testing: change core modules slightly and check that a unit test fails.

``python -m src.devtools.mutation`` checks a rotating sample. ``make mutation`` and ``make soak``
call it. ``targets.toml`` lists the modules and their tests, ``survivors.toml`` the mutations
that no test can detect.
"""
