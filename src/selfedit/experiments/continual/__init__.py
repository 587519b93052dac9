"""Passages learned one after the other: what is kept and what is damaged."""
