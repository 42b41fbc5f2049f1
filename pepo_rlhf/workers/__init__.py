"""The Ray actors: policy, reference and rollout, and the way of new weights from the first to the last."""
