"""Bundles: captures copied out of a store so that they stand alone, for a court or an archive."""
