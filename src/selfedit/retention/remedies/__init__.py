"""Remedies against forgetting. One file is one remedy, chosen by ``retention.remedies``."""
