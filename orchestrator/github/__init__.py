"""GitHub: the repository's environments and variables, and the identity its workflows get."""
