"""The method, as pure functions on tensors: perception and entropy scores in, token-level advantages out.

Symbols of the paper (arXiv 2603.22847), for one response with valid tokens t = 1..T, image tokens n = 1..N and
hidden states h of L layer entries (the embedding output counts as one, the last entry is taken after the final norm):

    VS_t  visual similarity   (1/L) sum_l (1/N) sum_n cos(h_{l,t}, h_{l,n})                    signals
    H_t   entropy             of the distribution that t was drawn from                        distribution
    S_t   image dependence    its KL from the distribution under a perturbed image             signals
    g_t   smooth gate         1 + alpha * tanh(x_t - mean x),  x = minmax(VS) + minmax(H)      weighting.pepo
    w_t   token weight        T * softmax_t(VS_t * g_t / tau); its mean over a response is 1   weighting
    A     group advantage     of a response among the responses to its prompt                  group_advantages
    A_t   token advantage     A * ((1 - p) + p * w_t),  p: schedule coefficient, 0..1          token_advantages

The package imports torch and nothing else; `weighting` does not even import torch, so that the settings of a weighting
can be checked in a second. Scores and weights are float32 whatever comes in, statistics of rewards float64.
"""
