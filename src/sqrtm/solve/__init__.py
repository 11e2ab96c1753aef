"""Roots of the matrices in a file, to a file: `flags` and `command` of `sqrtm solve`.

What a file needs is in the extra ``sqrtm[io]``; from .pt to .pt torch is enough.
"""
