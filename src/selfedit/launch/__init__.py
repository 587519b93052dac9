"""Runs begun through a scheduler of many machines."""
