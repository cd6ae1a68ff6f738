"""Who is trained on and who is tested: folds, split protocols, published ones by their names, and the leakage audit."""
