"""Grids of trials: from axes to configs, from results to tables and choices. Runs nothing and writes nothing."""
