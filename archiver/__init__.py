"""Composition: capture, package, seal, store, index. The only package that knows the others."""
