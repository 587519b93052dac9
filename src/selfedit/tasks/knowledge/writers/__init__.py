"""Other ways to write training text about a passage, to hold self-edits against: prompts in, texts
out.

Each writer says what to ask a model; which model is asked, and with what settings, is not its
business.
"""
