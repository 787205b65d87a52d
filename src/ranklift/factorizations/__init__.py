"""Factorizations: how the parameters of the search make up the matrix."""

from .asymmetric import Asymmetric
from .base import FACTORIZATIONS, DualMatrix, Factorization, dilation
from .deep import Deep
from .hermitian import Hermitian
from .signed import Signature, Signed
from .symmetric import Symmetric

__all__ = [
    "FACTORIZATIONS",
    "Asymmetric",
    "Deep",
    "DualMatrix",
    "Factorization",
    "Hermitian",
    "Signature",
    "Signed",
    "Symmetric",
    "dilation",
]
