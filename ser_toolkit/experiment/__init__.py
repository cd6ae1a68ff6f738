"""Variants x folds x seeds: plan, stores, units and their stages, baselines, the run record and the report."""
