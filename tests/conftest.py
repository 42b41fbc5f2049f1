"""Every test process is prepared the way every process of a run is."""

from pepo_rlhf import compat

compat.install()
