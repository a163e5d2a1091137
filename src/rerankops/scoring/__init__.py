"""The reranker: signals of a candidate, the cross-encoder that makes one of them, and the blend that ranks by them.

Importing this package loads no torch: only `cross_encoder` and `maxsim` do, and only where they are used.
"""
