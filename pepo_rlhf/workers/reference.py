"""The reference worker: log-probs under the policy that training started from."""

from __future__ import annotations

import ray
from openrlhf.trainer.ray.launcher import ReferenceModelActor

from pepo_rlhf.compat import wiring


class ReferenceWorker(ReferenceModelActor.__ray_metadata__.modified_class):
    """Upstream's reference actor, on the project's model class."""

    def __init__(self, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(*args, **kwargs)


ReferenceActor = ray.remote(num_gpus=1)(ReferenceWorker)
