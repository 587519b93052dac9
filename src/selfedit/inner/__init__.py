"""The inner loop: what a self-edit trains, in which order, and how many of them train as one."""
