"""Batches that run unattended: what is still to do, when it may be done, and from where."""
