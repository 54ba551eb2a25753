"""Renders pages, keeps them and sends them."""
