"""One use case a file, each readable aloud. They emit events, return values, and print nothing."""
