"""Import time and first-call compile time, in a fresh process and in a second one.

Every measurement is a process of its own. The first one with an empty Numba cache
(NUMBA_CACHE_DIR at a new folder), the second finds the cache that the first left. Compilation is
the first call of a small `recover` less the second call of the same one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from .harness import Record, Value, options, write

IMPORT_TARGET_S = 1.0
COMPILE_TARGET_S = 3.0

IMPORT = """
import json, time
start = time.perf_counter()
import {module}
print(json.dumps({{"import_s": time.perf_counter() - start}}))
"""

CALL = """
import json, time
import numpy as np
start = time.perf_counter()
import ranklift as rl
imported = time.perf_counter() - start
rng = np.random.default_rng(0)
flat = rng.choice(60 * 50, size=1500, replace=False)
left, right = rng.standard_normal((60, 2)), rng.standard_normal((50, 2))
rows, cols = flat // 50, flat % 50
exact = np.einsum("ij,ij->i", left[rows], right[cols])
noisy = exact + 0.1 * rng.standard_normal(1500)
times = []
for _ in range(2):
    start = time.perf_counter()
    operator = rl.operators.EntrySampling(rows, cols, (60, 50))
    {call}
    times.append(time.perf_counter() - start)
print(json.dumps({{"import_s": imported, "first_s": times[0], "second_s": times[1]}}))
"""
CALLS = {
    "recover(exact)": "rl.recover(operator, exact, rng=0)",
    "recover(noise=0.1)": "rl.recover(operator, noisy, noise=0.1, rng=0)",
}


def measure(code: str, cache: str | None = None) -> dict[str, float]:
    """Run ``code`` in a fresh interpreter and return the numbers it prints."""
    variables = dict(os.environ)
    if cache is not None:
        variables["NUMBA_CACHE_DIR"] = cache
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=variables,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and write the table."""
    chosen = options(__doc__, seeds=5, quick_seeds=2)
    rows: list[dict[str, Value]] = []
    samples: dict[str, list[float]] = {"ranklift": [], "numpy": [], "scipy.linalg": []}
    for repeat in range(chosen.seeds + 1):
        for module in list(samples) if repeat % 2 else list(samples)[::-1]:
            spent = measure(IMPORT.format(module=module))["import_s"]
            if repeat:  # the first reads the files from disk
                samples[module].append(spent)
    for module, spent_s in samples.items():
        rows.append({"what": f"import {module}", "import_s": statistics.median(spent_s)})
    records: list[Record] = []
    for name, call in CALLS.items():
        for repeat in range(max(1, chosen.seeds // 2)):
            with tempfile.TemporaryDirectory() as cache:
                for turn in ("fresh process, empty cache", "second process"):
                    found = measure(CALL.format(call=call), cache)
                    found["compile_s"] = found["first_s"] - found["second_s"]
                    details: dict[str, Value] = dict(found)
                    group = f"{name}, {turn}"
                    first = found["first_s"]
                    records.append(
                        Record(group, repeat, "ranklift", 0, first, 0, True, details, "")
                    )
    for group in dict.fromkeys(record.group for record in records):
        runs = [record.details for record in records if record.group == group]
        row: dict[str, Value] = {"what": group}
        for key in ("import_s", "first_s", "second_s", "compile_s"):
            row[key] = statistics.median(float(run[key]) for run in runs)
        rows.append(row)
    write(
        "import_time",
        rows,
        records,
        title="Import and first call",
        notes=[
            (
                "import_s: inside a fresh interpreter, after its own start (in the call rows NumPy is "
                "imported before)."
            ),
            (
                "first_s, second_s: the same small call twice in one process; compile_s: difference "
                f"(targets: import <= {IMPORT_TARGET_S:g} s, compile <= {COMPILE_TARGET_S:g} s, nearly "
                "nothing in the second process)."
            ),
        ],
        quick=chosen.quick,
    )


if __name__ == "__main__":
    main()
