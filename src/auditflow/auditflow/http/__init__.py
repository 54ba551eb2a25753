"""What every HTTP service needs: serving, probes, problem documents, tokens."""
