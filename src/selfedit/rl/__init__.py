"""The outer loop: reinforcement learning of self-edits by ReST-EM."""
