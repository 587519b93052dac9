"""Tables over passages: RL, single passages, replayed self-edits, continued pretraining."""
