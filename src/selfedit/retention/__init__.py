"""Learning without forgetting: what a model has been edited with so far, and the remedies against
losing it.
"""
