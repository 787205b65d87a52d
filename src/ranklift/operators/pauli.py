"""PauliSensing: expectation values of Pauli strings, signed permutations of the basis states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property

import numpy as np

from ..arrays import Array, like, to_numpy
from ..errors import DTypeError, DuplicateEntriesError, EmptyDataError, InputError, ShapeError
from .base import MOMENT_SIDE, MeasurementOperator, factor_energies

CHUNK_NUMBERS = 2**17
"""Complex numbers of one intermediate array (2 MiB): it stays in the cache of a core."""

CACHE_NUMBERS = 2**24
"""Complex numbers (256 MiB, all masks of 12 qubits) that an adjoint keeps between its products."""

LETTERS = "IXYZ"


class PauliSensing(MeasurementOperator):
    """Measure expectation values of Pauli strings: A(X)_s = Re tr(P_s X).

    Parameters
    ----------
    strings : sequence of str
        Distinct strings such as "XIZ", one letter of I, X, Y, Z a qubit, all of one length q. The
        first letter acts on the most significant bit: P = P_1 (x) P_2 (x) ... (``numpy.kron``).

    Raises
    ------
    EmptyDataError, InputError, ShapeError, DuplicateEntriesError
        For no string, a string that is empty or holds another letter, unequal lengths, a
        repetition.

    Notes
    -----
    The unknown is complex Hermitian of size n = 2^q; for such X the traces are real, and of any
    other X the real parts are taken. A string is a signed permutation: with bit masks x (letters
    X, Y) and z (letters Y, Z), ``P |j> = i^(number of Y) (-1)^|j & z| |j xor x>``. So

        A(L R^T)_s = Re i^(number of Y) sum_j (-1)^|j & z| d_x[j],   d_x[j] = L_j . R_(j xor x),

    and strings of one x share the diagonal d_x. The sum is one coefficient of the Walsh-Hadamard
    transform of d_x; few strings are summed one by one instead. Products cost
    O(M n k + min(m n, M n sqrt(n))) operations for M distinct masks x (the transform runs as two
    matrix products of size sqrt(n): more operations than n log n, in less time). A(X) and both
    products of A*(y) at k = 3: 0.1 and 0.2 ms (m = 1000, q = 6), 34 and 46 ms (m = 4000, q = 10),
    0.20 and 0.37 s (m = 3000, q = 12). Masks are worked on in chunks of 2 MiB; only the diagonals
    of an adjoint matrix, M n complex numbers, are kept between its products, up to 256 MiB.
    Arrays of other namespaces are worked on by the host and handed back. Own derivation.

    Examples
    --------
    >>> import numpy as np
    >>> A = PauliSensing(["ZZ", "XX", "ZI"])
    >>> bell = np.array([[1.0], [0.0], [0.0], [1.0]]) / np.sqrt(2)
    >>> A.apply_product(bell, bell.conj()).round(12)
    array([1., 1., 0.])
    """

    hermitian = True

    @staticmethod
    def example(rng: np.random.Generator) -> PauliSensing:
        """Make a small instance for the contract tests."""
        codes = rng.permutation(4**3)[:30]
        return PauliSensing._of_codes((codes[:, None] // 4 ** np.arange(3)[::-1]) % 4)

    def __init__(self, strings: Sequence[str]) -> None:
        self._set(_codes(strings))

    @classmethod
    def _of_codes(cls, codes: np.ndarray) -> PauliSensing:
        operator = object.__new__(cls)
        operator._set(np.asarray(codes, dtype=np.uint8))
        return operator

    def _set(self, codes: np.ndarray) -> None:
        m, q = codes.shape
        if m == 0:
            raise EmptyDataError("no Pauli string", "pass at least one string")
        if q > 30:
            raise ShapeError(
                f"strings on {q} qubits", "pass at most 30 letters: matrices are of size 2^q"
            )
        self.codes, self.num_qubits = codes, q
        n = 2**q
        self.shape, self.num_measurements = (n, n), m
        bits = 2 ** np.arange(q - 1, -1, -1, dtype=np.int64)
        is_x, is_y, is_z = ((codes == LETTERS.index(letter)) for letter in "XYZ")
        x, z = (is_x | is_y) @ bits, (is_y | is_z) @ bits
        # Strings are worked on in the order of their masks: a group is then a range.
        self._order = np.lexsort((z, x))
        same = (np.diff(x[self._order]) == 0) & (np.diff(z[self._order]) == 0)
        if same.any():
            repeated = codes[self._order[int(np.argmax(same))]]
            raise DuplicateEntriesError(
                f"string {_letters(repeated)!r} is listed more than once "
                f"({int(same.sum())} repetitions in all)",
                "average or drop the repetitions so that each string appears once",
            )
        self._z, self._num_y = z[self._order], is_y.sum(axis=1)[self._order] % 4
        self._masks, starts = np.unique(x[self._order], return_index=True)
        self._starts = np.append(starts, m)

    # -- structure ---------------------------------------------------------------------------

    @property
    def strings(self) -> list[str]:
        """Return the Pauli strings, in the caller's order."""
        return [_letters(row) for row in self.codes]

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of letters, masks and groups, in bytes."""
        parts = (self.codes, self._order, self._z, self._num_y, self._masks, self._starts)
        return sum(part.nbytes for part in parts)

    @property
    def symmetric(self) -> bool:
        """Whether every string has an even number of Y: the others are antisymmetric."""
        return not np.any(self._num_y % 2)

    def subset(self, index: Array) -> PauliSensing:
        """Return the measurement of the listed strings only."""
        return PauliSensing._of_codes(self.codes[to_numpy(index)])

    # -- products ----------------------------------------------------------------------------

    def _apply_matrix(self, matrix: Array) -> Array:
        host, j = to_numpy(matrix), np.arange(self.shape[0])
        return self._measure(lambda masks: host[j, j ^ masks[:, None]], matrix)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return Re tr(P_s L R^T)."""
        dtype = np.result_type(to_numpy(left), to_numpy(right), float)
        rows, other = (np.ascontiguousarray(to_numpy(x).T, dtype=dtype) for x in (left, right))
        j = np.arange(self.shape[0])

        def diagonals(masks: np.ndarray) -> np.ndarray:
            # One column after the other, in place: faster than one einsum over gathered rows.
            index = j ^ masks[:, None]
            total = np.zeros(index.shape, dtype=dtype)
            for a, c in zip(rows, other, strict=True):
                term = c[index]
                term *= a
                total += term
            return total

        return self._measure(diagonals, left)

    def _measure(self, diagonals: Callable[[np.ndarray], np.ndarray], template: Array) -> Array:
        """Return the measurements from the diagonals d_x of a few masks at a time."""
        values = np.empty(self.num_measurements)
        for groups, strings, owner in self._pieces():
            d = diagonals(self._masks[groups])
            z, num_y = self._z[strings], self._num_y[strings]
            even = num_y % 2 == 0
            part = np.zeros(z.size)
            # Re i^Y (a + i b) is a, -b, -a, b for Y = 0, 1, 2, 3 modulo 4.
            for chosen, plane in ((even, np.real(d)), (~even, np.imag(d))):
                if chosen.any():
                    part[chosen] = _characters(plane, owner[chosen], z[chosen])
            values[self._order[strings]] = part * np.array([1.0, -1.0, -1.0, 1.0])[num_y]
        return like(values, template)

    def adjoint(self, y: Array) -> PauliSum:
        """Return sum_s y_s P_s, a complex Hermitian matrix known by its products."""
        return PauliSum(self, to_numpy(y)[self._order])

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return (S conj(R), S^T conj(L)) = (S conj(R), conj(S L)) of S = A*(y), in one pass."""
        host_left, host_right = to_numpy(left), to_numpy(right).conj()
        k = host_right.shape[1]
        # Used once: diagonals are made and dropped chunk by chunk.
        total = self.adjoint(y)
        both = total.times(np.concatenate([host_right, host_left], axis=1), total.diagonals())
        return like(both[:, :k], left), like(both[:, k:].conj(), left)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return sum_s w_s P_s M P_s of M = F F^H; its conjugate twin on the right.

        Strings are unitary: without a factor this is sum(w) I. The factor i^(number of Y) drops
        out, and, with C_x[u] = sum over the strings of mask x of w_s (-1)^|u & z|, entry (a, a xor
        u) is

            sum_x C_x[u] M_(a xor x, a xor x xor u):

        for every u a convolution over (Z / 2)^q, two Walsh-Hadamard transforms and a product away.
        A diagonal M stays diagonal. Cost: O(n^2 sqrt(n)) for a matrix F, n sqrt(n) for a diagonal
        one; memory: a few n x n arrays. Own derivation.
        """
        n = self.shape[0]
        if factor is None:
            return np.full(n, weights.sum())
        if factor.ndim == 1:
            masks = np.repeat(self._masks, np.diff(self._starts))
            by_mask = np.bincount(masks, weights[self._order], n)
            return _xor_convolution(by_mask, factor_energies(factor, n))
        if n > MOMENT_SIDE:
            return None
        if side == "right":
            factor = factor.conj()
        table = np.zeros((n, n))
        table[np.repeat(self._masks, np.diff(self._starts)), self._z] = weights[self._order]
        j = np.arange(n)
        partner = j ^ j[:, None]
        # Row u of ``offset`` holds the entries (a, a xor u) of M, and then those of the moment.
        offset = (factor @ factor.conj().T)[j, partner]
        offset = _xor_convolution(walsh_hadamard(table).T, offset)
        moment = offset[partner, j[:, None]]
        return moment.conj() if side == "right" else moment

    def _pieces(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield groups, their strings, and the group of each string counted from the first."""
        step = max(1, CHUNK_NUMBERS // self.shape[0])
        for lo in range(0, self._masks.size, step):
            hi = min(lo + step, self._masks.size)
            counts = np.diff(self._starts[lo : hi + 1])
            owner = np.repeat(np.arange(hi - lo), counts)
            yield slice(lo, hi), slice(int(self._starts[lo]), int(self._starts[hi])), owner

    # -- saving ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the letters as numbers, m x q: I, X, Y, Z are 0, 1, 2, 3."""
        return {"codes": self.codes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PauliSensing:
        """Rebuild the operator from ``to_arrays``."""
        return cls._of_codes(arrays["codes"])


class PauliSum:
    """The matrix sum_s y_s P_s: S_(i, i xor x) = D_x[i], one complex diagonal a mask.

    D_x[i] = sum over the strings of x of y_s (-i)^(number of Y) (-1)^|i & z|.
    """

    __array_ufunc__ = None

    def __init__(self, operator: PauliSensing, y: np.ndarray, conjugated: bool = False) -> None:
        self._operator, self._y, self._conjugated = operator, y, conjugated
        self.shape = operator.shape
        self.dtype = np.dtype(complex)

    @property
    def T(self) -> PauliSum:
        """Return the transpose: the conjugate, since the matrix is Hermitian."""
        other = PauliSum(self._operator, self._y, not self._conjugated)
        if "_kept" in self.__dict__:
            other.__dict__["_kept"] = self._kept
        return other

    def __matmul__(self, x: Array) -> Array:
        host = to_numpy(x)
        if host.shape[0] != self.shape[1]:
            raise ShapeError(
                f"{host.shape[0]} rows for a matrix of shape {self.shape}", "pass one row a column"
            )
        columns = host if host.ndim == 2 else host[:, None]
        columns = columns.conj() if self._conjugated else columns
        out = self.times(columns, self._kept if self._small else self.diagonals())
        out = out.conj() if self._conjugated else out
        return like(out.reshape(host.shape), x)

    def times(
        self, columns: np.ndarray, diagonals: Iterable[tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """Return S times an n x p array, S from its masks and diagonals."""
        j, out = np.arange(self.shape[0]), np.zeros(columns.shape, dtype=complex)
        rows = np.ascontiguousarray(columns.T)
        for masks, d in diagonals:
            index = j ^ masks[:, None]
            for c, row in enumerate(rows):
                out[:, c] += np.einsum("xj,xj->j", d, row[index])
        return out

    @property
    def _small(self) -> bool:
        return self._operator._masks.size * self.shape[0] <= CACHE_NUMBERS

    @cached_property
    def _kept(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(self.diagonals())

    def diagonals(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield masks and their diagonals, a chunk at a time."""
        operator, n = self._operator, self.shape[0]
        for groups, strings, owner in operator._pieces():
            z, num_y = operator._z[strings], operator._num_y[strings]
            # (-i)^Y is 1, -i, -1, i for Y = 0, 1, 2, 3 modulo 4.
            coefficients = self._y[strings] * np.array([1.0, -1.0, -1.0, 1.0])[num_y]
            masks = operator._masks[groups]
            even = num_y % 2 == 0
            d = np.zeros((masks.size, n), dtype=complex)
            for chosen, plane in ((even, np.real(d)), (~even, np.imag(d))):
                if chosen.any():
                    _sum_characters(plane, owner[chosen], z[chosen], coefficients[chosen])
            yield masks, d


# -- Walsh-Hadamard transforms -----------------------------------------------------------------


def walsh_hadamard(x: np.ndarray) -> np.ndarray:
    """Return sum_j (-1)^|j & z| x[..., j] for every z, along the last axis of 2^q real numbers.

    Notes
    -----
    H_n = H_a (x) H_b with a b = n, so the transform is H_a X H_b of the a x b array X: O(n sqrt(n))
    multiply-adds by two matrix products.

    Examples
    --------
    >>> import numpy as np
    >>> walsh_hadamard(np.array([1.0, 2.0, 3.0, 4.0]))
    array([10., -2., -4.,  0.])
    """
    n = x.shape[-1]
    high, low = _split(n)
    grid = x.reshape(-1, high, low) @ _signs(low)
    return (_signs(high) @ grid).reshape(x.shape)


def _xor_convolution(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return sum_i x[..., i] y[..., i xor j] for every j, along the last axis of 2^q numbers."""
    spectrum = walsh_hadamard(np.ascontiguousarray(x)) * walsh_hadamard(y)
    return walsh_hadamard(spectrum) / x.shape[-1]


def _split(n: int) -> tuple[int, int]:
    q = n.bit_length() - 1
    return 2 ** (q // 2), 2 ** (q - q // 2)


@cache
def _signs(size: int) -> np.ndarray:
    """Return the Hadamard matrix (-1)^|i & j|."""
    out = np.ones((1, 1))
    while out.shape[0] < size:
        out = np.block([[out, out], [out, -out]])
    out.flags.writeable = False
    return out


def _few(strings: int, groups: int, n: int) -> bool:
    # A transform takes n times the sum of both sides in multiply-adds, a string 2 n; measured at
    # q = 6 to 12, those of a matrix product are some 30 times faster.
    return 64 * strings <= groups * sum(_split(n))


def _characters(d: np.ndarray, owner: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return sum_j (-1)^|j & z_s| d[owner_s, j] for every string s."""
    groups, n = d.shape
    if not _few(z.size, groups, n):
        return walsh_hadamard(d)[owner, z]
    high, low = _split(n)
    grids = d.reshape(groups, high, low)
    out = np.empty(z.size)
    step = max(1, CHUNK_NUMBERS // n)
    for lo in range(0, z.size, step):
        part = slice(lo, lo + step)
        rows = _signs(low)[z[part] % low]
        half = np.matmul(grids[owner[part]], rows[:, :, None])[:, :, 0]
        out[part] = np.einsum("sa,sa->s", half, _signs(high)[z[part] // low])
    return out


def _sum_characters(
    out: np.ndarray, owner: np.ndarray, z: np.ndarray, coefficients: np.ndarray
) -> None:
    """Add c_s (-1)^|j & z_s| to out[owner_s, j] for every string s; ``owner`` ascends."""
    groups, n = out.shape
    if not _few(z.size, groups, n):
        spectrum = np.zeros((groups, n))
        spectrum[owner, z] = coefficients
        out += walsh_hadamard(spectrum)
        return
    high, low = _split(n)
    step = max(1, CHUNK_NUMBERS // n)
    for lo in range(0, z.size, step):
        part = slice(lo, lo + step)
        a = coefficients[part, None] * _signs(high)[z[part] // low]
        waves = (a[:, :, None] * _signs(low)[z[part] % low][:, None, :]).reshape(-1, n)
        owners, starts = np.unique(owner[part], return_index=True)
        out[owners] += np.add.reduceat(waves, starts, axis=0)


# -- strings -------------------------------------------------------------------------------------


def _letters(codes: Iterable[int]) -> str:
    return "".join(LETTERS[int(code)] for code in codes)


def _codes(strings: Sequence[str]) -> np.ndarray:
    if isinstance(strings, str):
        raise DTypeError(
            f"one string {strings!r} instead of a list", f"pass a list, such as [{strings!r}]"
        )
    strings = list(strings)
    if not strings:
        raise EmptyDataError("no Pauli string", "pass at least one string")
    for string in strings:
        if not isinstance(string, str) or not string or set(string) - set(LETTERS):
            raise InputError(
                f"{string!r} is not a Pauli string", "use the letters I, X, Y and Z, one a qubit"
            )
        if len(string) != len(strings[0]):
            raise ShapeError(
                f"{string!r} has {len(string)} letters, {strings[0]!r} has {len(strings[0])}",
                "pass strings of one length, with I for a qubit that is not measured",
            )
    text = np.frombuffer("".join(strings).encode(), dtype=np.uint8).reshape(len(strings), -1)
    table = np.zeros(256, dtype=np.uint8)
    table[np.frombuffer(LETTERS.encode(), dtype=np.uint8)] = np.arange(4)
    return table[text]
