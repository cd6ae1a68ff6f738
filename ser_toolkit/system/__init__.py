"""The machine below the toolkit: the processes that train together."""
