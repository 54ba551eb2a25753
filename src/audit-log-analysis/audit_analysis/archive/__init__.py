"""The event archive: Parquet files by hour and log source, and their manifest in PostgreSQL."""
