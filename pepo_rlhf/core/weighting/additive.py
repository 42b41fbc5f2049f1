"""PEPO without the gate, an ablation: perception and exploration added up."""

from pepo_rlhf.core.normalisation import mean_one_softmax, min_max


def weigh(similarity, entropy, mask, *, temperature, **_):
    return mean_one_softmax((min_max(similarity, mask) + min_max(entropy, mask)) / temperature, mask)
