"""Registers of incidents and their seeds."""
