"""The Ray actors: policy, reference and rollout. They import nothing of the controller."""
