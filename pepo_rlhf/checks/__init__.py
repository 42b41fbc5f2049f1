"""What can be known of a run before GPUs are reserved. `pepo_rlhf.check` runs all of it, `train` the cheap part."""
