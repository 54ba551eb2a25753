"""The library that all services use. It contains nothing that belongs to only one of them."""
