"""Samplers: where the policy's texts and their likelihoods come from."""
