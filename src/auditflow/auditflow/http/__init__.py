"""The common parts of HTTP services: serving, probes, problem documents, tokens."""
