"""What a run found: typed rows, paired differences and tables of numbers, and how each is shown."""
