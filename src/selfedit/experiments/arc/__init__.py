"""Tables over ARC tasks: few-shot self-edits, test-time training, the filter of tasks."""
