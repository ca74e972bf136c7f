"""How far a sum computed in float32 may lie from the exact one."""

UNIT_ROUNDOFF = 2.0**-24  # of float32, to nearest


def gamma(n):
    """The constant γ_n of higham2002accuracy, lemma 3.1. A sum of n products, added in any order and with or without
    fused multiply-adds, lies within γ_n times the sum of their absolute values (ibid., equation 3.5): so on every
    processor."""
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)
