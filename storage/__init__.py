"""Bytes in, bytes out. Knows no manifest and no browser."""
