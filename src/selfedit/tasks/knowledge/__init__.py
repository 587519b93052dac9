"""Passages and questions: reading them, prompts for self-edits, and inner loops made of these."""
