"""Shelf of probes: one file each, exactly one public name in it."""
