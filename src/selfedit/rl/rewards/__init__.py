"""Rewards: what a self-edit is worth. One file is one reward, chosen by ``rl.reward.signal``."""
