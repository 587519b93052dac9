"""Cheaper rewards beside the true one."""
