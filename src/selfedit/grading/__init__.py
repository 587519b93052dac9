"""Whether an answer is right: graders by rule, fitted on a judge's verdicts, or a judge; how far
they agree; means with standard errors.
"""
