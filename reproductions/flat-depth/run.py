"""Flattest solutions at several depths: entrywise products of vectors, products of matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize

from ranklift.flatness.hadamard import flattest_vector
from ranklift.reproduce import Outcome, Progress
from ranklift.trials import run_trials

RECOVERED = 1e-6
"""Relative error of a success."""

FEASIBLE = 1e-8
"""||A(X) - b|| / ||b|| at which the multipliers stop."""

CONVEX_GAP = 1e-10
"""Relative duality gap at which the nuclear norm counts as minimised."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Count recoveries over m at every depth."""
    keys = ("n", "sparsity", "vector_depths")
    vectors = run_trials(
        vector_trial,
        [{key: settings[key] for key in keys} | {"m": m, "seed": seed}
         for m in settings["vector_m"] for seed in range(settings["vector_draws"])],
        store=settings.get("store"), progress=progress, label="vectors",
    )  # fmt: skip
    keys = ("d", "rank", "matrix_depths", "starts")
    matrices = run_trials(
        matrix_trial,
        [{key: settings[key] for key in keys} | {"m": m, "seed": seed}
         for m in settings["matrix_m"] for seed in range(settings["matrix_draws"])],
        store=settings.get("store"), progress=progress, label="matrices",
    )  # fmt: skip
    forms = run_trials(
        closed_form_trial,
        [{"d": 6, "rank": rank, "L": depth} for depth in (2, 3, 4, 5) for rank in (1, 3)],
        store=settings.get("store"), progress=progress, label="closed form",
    )  # fmt: skip
    names = [f"k = {k}" for k in settings["vector_depths"]]
    vector_rows = shares(vectors, names, settings["vector_m"])
    values = {
        f"vectors_{k}": max(row[f"k = {k}"] for row in vector_rows if row["m"] < settings["n"])
        for k in settings["vector_depths"][1:]
    }
    values["vectors_2"] = next(row["k = 2"] for row in vector_rows if row["m"] == 28)
    values["vector_gap"] = max(row["gap"] for row in vectors)
    flat = [f"L = {L}" for L in settings["matrix_depths"]]
    matrix_rows = shares(matrices, ["nuclear norm", *flat], settings["matrix_m"])
    for name in flat:
        values[f"matrices_{name[4:]}"] = min(row[name] - row["nuclear norm"] for row in matrix_rows)
    values["matrices_at_most_m"] = min(matrix_rows[-1][name] for name in flat)
    values["nuclear_excess"] = max(row[f"{name} excess"] for row in matrices for name in flat)
    values["convex_gap"] = max(row["convex gap"] for row in matrices)
    values["closed_form"] = max(row["deviation"] for row in forms)
    values["search"] = max(row["search"] for row in matrices)
    values["starts_above_the_best"] = float(
        np.mean([row[f"{name} above"] for row in matrices for name in flat])
    )
    tables = {
        f"Share of sparse vectors recovered (n = {settings['n']}, {settings['sparsity']} nonzeros)":
            vector_rows,
        "Median relative error of the vectors": medians(vectors, names, settings["vector_m"]),
        f"Share of matrices recovered ({settings['d']} x {settings['d']}, rank {settings['rank']})":
            matrix_rows,
        "Matrices recovered by one of two": [paired(matrices, name) for name in flat],
        "Median relative error of the matrices":
            medians(matrices, ["nuclear norm", *flat], settings["matrix_m"]),
        "Median nuclear norm over the least":
            medians(matrices, [f"{name} excess" for name in flat], settings["matrix_m"]),
        "Least trace for A*A = identity": forms,
    }  # fmt: skip
    notes = [
        f"Recovered: relative error below {RECOVERED:g}. Dense Gaussian measurements, exact data.",
        "Vectors and the nuclear norm's solutions are certified by their duality gap; the search "
        "for the flattest matrix is checked by a convex solution at L = 2 only. At L >= 3 the "
        f"problem is not convex: the flattest found from {settings['starts']} random starts is "
        "taken. starts_above_the_best: share of starts that end at a trace more than 1e-6 above.",
    ]
    figures = {
        "vectors": picture(vector_rows, names, "m measurements of a vector"),
        "matrices": picture(matrix_rows, ["nuclear norm", *flat], "m measurements of a matrix"),
    }
    return Outcome(values, tables, figures, notes)


def vector_trial(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the relative error of the flattest vector at every depth, and the largest gap."""
    rng = np.random.default_rng([case["m"], case["seed"]])
    x = np.zeros(case["n"])
    x[rng.permutation(case["n"])[: case["sparsity"]]] = rng.standard_normal(case["sparsity"])
    a = rng.standard_normal((case["m"], case["n"]))
    found = {k: flattest_vector(a, a @ x, k) for k in case["vector_depths"]}
    row = {f"k = {k}": np.linalg.norm(f.x - x) / np.linalg.norm(x) for k, f in found.items()}
    return row | {"m": case["m"], "gap": max(f.gap for f in found.values())}


def matrix_trial(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return errors and nuclear norms of the nuclear norm's solution and of the flattest ones."""
    rng = np.random.default_rng([case["m"], case["seed"]])
    d, r = case["d"], case["rank"]
    truth = rng.standard_normal((d, r)) @ rng.standard_normal((r, d))
    truth /= np.linalg.norm(truth)
    a = rng.standard_normal((case["m"], d, d))
    b = np.einsum("iab,ab->i", a, truth)
    convex, gap = least_nuclear_norm(a, b)
    row = {"m": case["m"], "nuclear norm": float(np.linalg.norm(convex - truth))}
    for depth in case["matrix_depths"]:
        name, network = f"L = {depth}", DeepLinear(a, depth)
        ends = [network.flattest(b, rng) for _ in range(case["starts"])]
        x, trace = min(ends, key=lambda end: end[1])
        row[name] = float(np.linalg.norm(x - truth))
        row[f"{name} excess"] = float(np.linalg.norm(x, "nuc") / np.linalg.norm(convex, "nuc"))
        row[f"{name} above"] = float(np.mean([end[1] > (1 + 1e-6) * trace for end in ends]))
        if depth == 2:
            # Here the flattest X minimises 4 ||D1 X D2||_*: the search is checked by a convex one.
            left, right = weights(a)
            weighted, other = least_nuclear_norm(left @ a @ right, b)
            gap = max(gap, other)
            row["search"] = abs(trace / (4 * float(np.linalg.norm(weighted, "nuc"))) - 1)
    return row | {"convex gap": gap}


def closed_form_trial(case: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the least trace found with the closed form where all of X is measured."""
    d, r, depth = case["d"], case["rank"], case["L"]
    rng = np.random.default_rng([r, depth])
    x = rng.standard_normal((d, r)) @ rng.standard_normal((r, d))
    x /= np.linalg.norm(x)
    every = np.eye(d * d).reshape(-1, d, d)
    network = DeepLinear(every, depth, isotropic=True)
    found = min(network.flattest(x.ravel(), rng)[1] for _ in range(3))
    closed = 2 * depth * d ** (2 / depth) * float(np.linalg.norm(x, "nuc")) ** (2 - 2 / depth)
    return {"L": depth, "d": d, "rank": r, "closed form": closed, "found": found,
            "deviation": abs(found / closed - 1)}  # fmt: skip


class DeepLinear:
    """Deep linear networks X = W_L ... W_1 of d x d layers, with f = (1/m) ||A(X) - b||^2.

    The trace of the Hessian is (2/m) sum_l sum_i ||(W_L .. W_{l+1})^T A_i (W_{l-1} .. W_1)^T||_F^2
    at any layers. With `isotropic` the mean over i is replaced by that of A*A = identity.
    """

    def __init__(self, a: np.ndarray, depth: int, *, isotropic: bool = False) -> None:
        self.m, self.d = a.shape[:2]
        self.depth = depth
        self.rows = a.reshape(self.m, -1)
        identity = np.eye(self.d).ravel()
        # The mean of ||P^T A_i Q^T||^2 is vec(P P^T)^T gram vec(Q^T Q).
        self.gram = (
            np.outer(identity, identity)
            if isotropic
            else np.einsum("iac,ibe->abce", a, a).reshape(self.d**2, -1) / self.m
        )

    def chains(self, w: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return P_l = W_L .. W_{l+1} and Q_l = W_l .. W_1 for l = 0..L."""
        p, q = [np.eye(self.d)], [np.eye(self.d)]
        for layer in w:
            q.append(layer @ q[-1])
        for layer in w[::-1]:
            p.append(p[-1] @ layer)
        return p[::-1], q

    def trace(self, w: np.ndarray, outer: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the trace of the Hessian, and the gradient in w of it plus <outer, X>."""
        p, q = self.chains(w)
        value, to_p, to_q = 0.0, [np.zeros_like(x) for x in p], [np.zeros_like(x) for x in q]
        for i in range(self.depth):
            left, right = p[i + 1] @ p[i + 1].T, q[i].T @ q[i]
            by_left = (self.gram @ right.ravel()).reshape(left.shape)
            by_right = (left.ravel() @ self.gram).reshape(right.shape)
            value += 2 * float(np.sum(left * by_left))
            to_p[i + 1] += 2 * (by_left + by_left.T) @ p[i + 1]
            to_q[i] += 2 * q[i] @ (by_right + by_right.T)
        to_q[-1] += outer
        gradient = np.zeros_like(w)
        for i in reversed(range(self.depth)):
            gradient[i] += to_q[i + 1] @ q[i].T
            to_q[i] += w[i].T @ to_q[i + 1]
        for i in range(self.depth):
            gradient[i] += p[i + 1].T @ to_p[i]
            to_p[i + 1] += to_p[i] @ w[i].T
        return value, gradient

    def flattest(self, b: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Minimise the trace over A(X) = b from random orthogonal layers; return X and trace."""
        w = np.stack([np.linalg.qr(rng.standard_normal((self.d, self.d)))[0] * 0.6
                      for _ in range(self.depth)])  # fmt: skip
        nothing = np.zeros((self.d, self.d))
        y, size = np.zeros(self.m), self.trace(w, nothing)[0]
        stiffness, last = 10 * size / float(b @ b), 1.0

        def lagrangian(flat: np.ndarray) -> tuple[float, np.ndarray]:
            layers = flat.reshape(w.shape)
            residual = self.rows @ self.chains(layers)[1][-1].ravel() - b
            outer = (self.rows.T @ (stiffness * residual - y)).reshape(self.d, self.d)
            value, gradient = self.trace(layers, outer)
            value += float(stiffness / 2 * residual @ residual - y @ residual)
            return value, gradient.ravel()

        for _ in range(40):
            found = minimize(
                lagrangian, w.ravel(), jac=True, method="L-BFGS-B",
                options={"maxiter": 3000, "maxfun": 5000, "maxcor": 30, "ftol": 1e-16,
                         "gtol": max(1e-9, 1e-3 * last) * size},
            )  # fmt: skip
            w = found.x.reshape(w.shape)
            x = self.chains(w)[1][-1]
            residual = self.rows @ x.ravel() - b
            y = y - stiffness * residual
            off = float(np.linalg.norm(residual) / np.linalg.norm(b))
            if off < FEASIBLE:
                return x, self.trace(w, nothing)[0]
            stiffness *= 3 if off > last / 4 else 1
            last = min(off, 1.0)
        raise RuntimeError(f"no feasible layers found: A(X) is off by {last:.1e}")


def least_nuclear_norm(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Minimise ||X||_* over A(X) = b by Douglas-Rachford splitting; return X and its gap."""
    d = a.shape[1]
    rows = a.reshape(len(a), -1)
    inverse = np.linalg.pinv(rows)
    fitted, kernel = inverse @ b, np.eye(d * d) - inverse @ rows
    z, step = fitted, 0.3 * float(np.linalg.norm(fitted.reshape(d, d), 2))
    for count in range(100_000):
        x = fitted + kernel @ z
        if count % 50 == 0:
            # (x - z) / step lies in the range of A* and, scaled, in the dual ball.
            dual = (x - z) / step
            bound = float(dual @ x) / max(1.0, float(np.linalg.norm(dual.reshape(d, d), 2)))
            gap = 1 - bound / float(np.linalg.norm(x.reshape(d, d), "nuc"))
            if gap < CONVEX_GAP:
                return x.reshape(d, d), max(gap, 0.0)
        u, singular, vt = np.linalg.svd((2 * x - z).reshape(d, d))
        z = z + ((u * np.maximum(singular - step, 0)) @ vt).ravel() - x
    raise RuntimeError("the nuclear norm was not minimised in 100 000 steps")


def weights(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverses of D1 = (mean A_i A_i^T)^(1/2) and D2 = (mean A_i^T A_i)^(1/2)."""
    inverses = []
    for second in (np.einsum("iab,icb->ac", a, a), np.einsum("iba,ibc->ac", a, a)):
        eigenvalues, vectors = np.linalg.eigh(second / len(a))
        inverses.append(vectors / np.sqrt(eigenvalues) @ vectors.T)
    return inverses[0], inverses[1]


def shares(rows: Sequence[Any], names: Sequence[str], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return the share of successes for every m."""
    return [
        {"m": m}
        | {
            name: float(np.mean([row[name] < RECOVERED for row in rows if row["m"] == m]))
            for name in names
        }
        for m in sizes
    ]


def medians(
    rows: Sequence[Any], names: Sequence[str], sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the median for every m."""
    return [
        {"m": m}
        | {name: float(np.median([row[name] for row in rows if row["m"] == m])) for name in names}
        for m in sizes
    ]


def paired(rows: Sequence[Any], name: str) -> dict[str, Any]:
    """Count the draws that only one of a flattest matrix and the nuclear norm recovers."""
    won = [(row[name] < RECOVERED, row["nuclear norm"] < RECOVERED) for row in rows]
    return {"depth": name, "draws": len(won), "only the flattest": won.count((True, False)),
            "only the nuclear norm": won.count((False, True))}  # fmt: skip


def picture(rows: Sequence[Any], names: Sequence[str], label: str) -> Figure:
    """Plot shares against m."""
    figure = Figure(figsize=(5.4, 3.2))
    axes = figure.subplots()
    for name in names:
        axes.plot([row["m"] for row in rows], [row[name] for row in rows], "o-", ms=3, label=name)
    axes.set(xlabel=label, ylabel="share recovered", ylim=(-0.03, 1.03))
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
