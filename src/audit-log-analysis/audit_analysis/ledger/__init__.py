"""The ledger: compares what the ingest accepted with what the archive contains, by message."""
