"""A run's folder: its ledger, settings, seeds, progress, interruption, and what it ran on."""
