"""PostgreSQL, as the rest of the service sees it. psycopg2's errors stop here."""
