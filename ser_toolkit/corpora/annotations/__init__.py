"""Label files of single corpora whose annotations are long enough for a file of their own."""
