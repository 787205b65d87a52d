"""Factorizations: how the parameters of the search make up the matrix."""

from .asymmetric import Asymmetric
from .base import FACTORIZATIONS, Factorization
from .symmetric import Symmetric

__all__ = ["FACTORIZATIONS", "Asymmetric", "Factorization", "Symmetric"]
