"""A run's metrics in other programs: one file a tracker, fed from the rows of ``metrics.jsonl``."""
