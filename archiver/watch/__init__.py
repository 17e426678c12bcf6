"""Watching: what became of captured pages afterwards."""
