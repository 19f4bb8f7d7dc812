"""Renders events and values: terminal, JSON lines. Progress goes to stderr, the result to stdout."""
