"""Token weightings, one a file: NAME.py is what --pepo.method NAME chooses, and nothing else has to know of it.

A file holds the function

    weigh(similarity, entropy, mask, *, alpha, temperature, top_fraction) -> weights

of [B, T] float32 scores, 0 at invalid tokens, and a [B, T] bool mask, which returns [B, T] float32, 0 at invalid ones;
and, if the method holds from the first step on, whatever the training progress, SCHEDULED = False.
"""
