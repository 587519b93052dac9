"""What a model adapts to: the protocol of a task, and two of them, passages and ARC."""
