"""Several runs: whether they may be compared, paired differences, costs, searches."""
