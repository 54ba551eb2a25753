"""PostgreSQL. Errors of psycopg2 that pass with time are translated to ``Unavailable``."""
