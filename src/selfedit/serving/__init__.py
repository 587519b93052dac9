"""An endpoint that speaks OpenAI's protocol, and the chat in a terminal: questions from many people
at once, answered in one batch, each by what knows the answer.
"""
