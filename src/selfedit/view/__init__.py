"""A live page over a run, a library of documents or a folder of runs: what was written, what it
earned, what is known, side by side. It only reads.
"""
