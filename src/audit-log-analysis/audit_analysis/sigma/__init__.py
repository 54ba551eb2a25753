"""Sigma rules: read by pySigma, compiled once into predicates, met only by what they concern.

``load`` reads files; ``compile`` makes predicates; ``fields`` says what a field of an event is;
``logsource`` says which rules an event meets; ``rule`` is what comes out.
"""
