"""PEPO without exploration, an ablation: similarity alone."""

from pepo_rlhf.core.normalisation import mean_one_softmax


def weigh(similarity, entropy, mask, *, temperature, **_):
    return mean_one_softmax(similarity / temperature, mask)
