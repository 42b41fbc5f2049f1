"""Checks of a Kubernetes manifest against the run that it starts; other tools check it against schemas."""
