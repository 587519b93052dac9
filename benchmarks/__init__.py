"""What it costs: the same work done by others and by us, each in a process of its own, side by
side.
"""
