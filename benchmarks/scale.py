"""Scale: 1e6 noisy entries of a 20,000 x 20,000 rank-10 matrix, certified; cost per entry.

Each run is its own process, so that peak memory is its own. 1e5 entries of 2,000 x 2,000 keep 50
entries a row: the ratio of the times per entry tells whether the cost is linear in the entries.
Kernels are compiled beforehand (benchmarks/import_time.py measures compilation).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from .harness import Record, Value, options, summarise, write

RANK = 10
NOISE = 0.1
GAP = 1e-4
MEMORY_MB = 1000.0
LIMIT_S = 900
SIZES = {
    "1e5 entries, 2000x2000": (2_000, 100_000),
    "1e6 entries, 20000x20000": (20_000, 1_000_000),
}
QUICK = {"2e4 entries, 400x400": (400, 20_000), "1e5 entries, 2000x2000": (2_000, 100_000)}


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != "darwin" else 1024.0**2)


def worker(n: int, m: int, seed: int) -> dict[str, Value]:
    """Make the data, solve, measure. Runs in a process of its own."""
    import ranklift as rl

    rng = np.random.default_rng(seed)
    flat = np.unique(rng.integers(0, n * n, size=m + m // 4))
    flat = np.sort(rng.permutation(flat)[:m])
    rows, cols = flat // n, flat % n
    left = rng.standard_normal((n, RANK))
    right = rng.standard_normal((n, RANK)) / np.sqrt(RANK)
    values = np.concatenate(
        [
            np.einsum("ij,ij->i", left[r], right[c])
            for r, c in zip(np.array_split(rows, 16), np.array_split(cols, 16), strict=True)
        ]
    )
    values += NOISE * rng.standard_normal(m)
    del flat
    warm = rng.choice(60 * 60, size=1500, replace=False)
    rl.recover(
        rl.operators.EntrySampling(warm // 60, warm % 60, (60, 60)),
        rng.standard_normal(1500),
        noise=1.0,
        rng=0,
    )
    before = peak_memory_mb()
    start = time.perf_counter()
    operator = rl.operators.EntrySampling(rows, cols, (n, n))
    result = rl.recover(operator, values, noise=NOISE, rng=seed)
    seconds = time.perf_counter() - start
    peak = peak_memory_mb()

    truth = rl.LowRank(left, right)
    error = float((result.matrix - truth).norm() / truth.norm())
    convex = result.convex
    spent = result.stage_times
    certifying = sum(value for key, value in spent.items() if "certif" in key)
    reports = dict(convex.certificates) if convex is not None else {}
    return {
        "error": error,
        "time_s": seconds,
        "rank": float(result.rank),
        "convex_rank": float(convex.rank) if convex is not None else -1.0,
        "gap": float(convex.relative_gap) if convex is not None else float("nan"),
        "gap_verdict": str(reports["duality_gap"].verdict.value) if reports else "none",
        "peak_mb": peak,
        "before_mb": before,
        "certificate_share": certifying / seconds,
        "us_per_entry": 1e6 * seconds / m,
        "stages": ", ".join(f"{key} {value:.3g}" for key, value in spent.items()),
    }


def run(group: str, n: int, m: int, seed: int) -> Record:
    """Run one size in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.scale", "--worker", str(n), str(m), str(seed)]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            cwd=Path(__file__).parent.parent,
        )
    except subprocess.TimeoutExpired:
        seconds = time.perf_counter() - start
        return Record(group, seed, "ranklift", 0, seconds, np.nan, False, {}, f"over {LIMIT_S} s")
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return Record(group, seed, "ranklift", 0, seconds, np.nan, False, {}, reason[0][:200])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    error, spent = float(found.pop("error")), float(found.pop("time_s"))
    certified = found["gap"] <= GAP and found["gap_verdict"] == "holds"
    success = bool(certified and found["peak_mb"] < MEMORY_MB)
    record = Record(group, seed, "ranklift", 0, spent, error, success, found, "")
    print(record, file=sys.stderr, flush=True)
    return record


def main() -> None:
    """Run the sizes in turn, smaller and larger alternating first."""
    chosen = options(__doc__, seeds=3, quick_seeds=1)
    sizes = list((QUICK if chosen.quick else SIZES).items())
    records: list[Record] = []
    for seed in range(chosen.seeds):
        for group, (n, m) in sizes if seed % 2 == 0 else sizes[::-1]:
            records.append(run(group, n, m, seed))
    records.sort(key=lambda record: list(dict(sizes)).index(record.group))
    rows = summarise(records)
    costs = [row.get("us_per_entry") for row in rows]
    notes = [
        (
            f"Rank {RANK}, entries of variance 1, noise {NOISE:g} given; error: relative, of the "
            "debiased answer against the truth on all entries."
        ),
        (
            f"success: certificate duality_gap HOLDS with a relative gap <= {GAP:g} and peak resident "
            f"memory < {MEMORY_MB:g} MB, data, interpreter and warm-up included (before_mb: peak "
            "before the call)."
        ),
        "certificate_share: time of the certificate stages over all. One fresh process a run.",
    ]
    if len(costs) == 2 and all(isinstance(cost, float) for cost in costs):
        ratio = float(costs[1] or np.nan) / float(costs[0] or np.nan)
        notes.append(f"Cost per entry, larger over smaller: {ratio:.3g}.")
    write(
        "scale",
        rows,
        records,
        title="Scale: certified at 1e6 entries",
        notes=notes,
        quick=chosen.quick,
    )


if __name__ == "__main__":
    if "--worker" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--worker", nargs=3, type=int, required=True)
        print(json.dumps(worker(*parser.parse_args().worker)))
    else:
        main()
