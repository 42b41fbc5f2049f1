"""The numbers of a run: its log, trackers, progress bar, advice, and token records."""
