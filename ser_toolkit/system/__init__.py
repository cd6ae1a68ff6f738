"""The machine below the toolkit: files, processes, progress, memory, folders, and what is installed."""
