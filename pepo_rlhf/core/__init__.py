"""The method, as pure functions on tensors: perception and exploration scores in, token-level advantages out.

Symbols of the paper (arXiv 2603.22847), for one response with valid tokens t = 1..T, image tokens n = 1..N and
hidden states h of L layer entries (the embedding output counts as one, the last entry is taken after the final norm):

    VS_t  visual similarity   (1/L) sum_l (1/N) sum_n cos(h_{l,t}, h_{l,n})       visual_similarity, VisualSimilarity
    H_t   entropy             of the distribution that t was drawn from      log_probs_and_entropy
    g_t   smooth gate         1 + alpha * tanh(x_t - mean x),  x = minmax(VS) + minmax(H)
    w_t   token weight        T * softmax_t(VS_t * g_t / tau); its mean over a response is 1          token_weights
    A_t   token advantage     A * ((1 - p) + p * w_t),  p: training progress, 0..1                    token_advantages

This package imports torch and nothing else. Everything is computed in float32 whatever comes in.
"""

from pepo_rlhf.core.distribution import log_probs_and_entropy
from pepo_rlhf.core.masks import sequence_mask, vision_mask
from pepo_rlhf.core.similarity import VisualSimilarity, visual_similarity
from pepo_rlhf.core.token_advantages import token_advantages
from pepo_rlhf.core.token_weights import TOKEN_WEIGHTINGS, is_scheduled, token_weights

__all__ = [
    "TOKEN_WEIGHTINGS",
    "VisualSimilarity",
    "is_scheduled",
    "log_probs_and_entropy",
    "sequence_mask",
    "token_advantages",
    "token_weights",
    "vision_mask",
    "visual_similarity",
]
