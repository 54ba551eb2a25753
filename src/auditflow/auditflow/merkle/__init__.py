"""Merkle trees (RFC 6962) and signed checkpoints (C2SP), for logs that show each change"""
