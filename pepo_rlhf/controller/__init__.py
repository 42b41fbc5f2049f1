"""The controller: one process that runs the training loop and tells the Ray workers what to do.

`trainer.py` holds the loop; every other file holds one part of a step.
"""
