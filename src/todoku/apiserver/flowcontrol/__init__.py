"""API priority and fairness (KEP-1040): which requests may run now, which wait, which are turned away."""
