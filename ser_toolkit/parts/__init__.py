"""Parts: how a class is found by its name, what its constructor takes, and where the source of a user's own lies."""
