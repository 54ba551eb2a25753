"""Sigma rules: pySigma reads them, and this package compiles them once into predicates.

``load`` reads files, ``compile`` makes predicates, ``fields`` reads fields of events, ``logsource``
decides which rules apply to an event, and ``rule`` has the result.
"""
