"""Independent trials of a reproduction: in parallel, kept on disk as they finish, taken up again.

A trial is a pure function of its case, seeds included, so that nothing depends on the number of
processes, on their order, or on how often a run was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import signal
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from inspect import isfunction
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from threadpoolctl import threadpool_limits

from . import __version__
from .errors import InputError, RankliftError
from .reproduce import Progress, load_module
from .threads import available_cores

Trial = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Finished = Generator[tuple[str, str], None, None]
"""Pairs of a case's key and its result as JSON, in the order in which trials end."""

HEARTBEAT_S = 0.2
"""Seconds between calls of ``progress`` while no trial ends: Ctrl-C must not wait for a trial."""


class TrialError(RankliftError, RuntimeError):
    """A trial failed: the message names its case, a note holds the traceback of its process."""


def run_trials(
    function: Trial,
    cases: Sequence[Mapping[str, Any]],
    *,
    store: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    label: str = "trials",
) -> list[dict[str, Any]]:
    """Return ``function(case)`` of every case, in the order of the cases.

    Parameters
    ----------
    function : callable
        Defined at the top of a file that can be loaded by itself (no relative imports), such as
        run.py of a reproduction: other processes load the file and take the function by its name.
        Its result is a mapping of JSON values (NumPy scalars and arrays become numbers and lists).
    cases : sequence of mappings
        JSON values, the seed among them. A case that is listed twice is run once.
    store : Path, optional
        File of finished trials, one JSON object a line, appended as each ends. Trials that are
        there are not run again, unless the function's file or the version of ranklift has changed
        since. Changes of *other* files are not noticed: delete the store after those
        (``ranklift.reproduce`` deletes that of a complete run). Without it nothing is kept.
    workers : int, optional
        Processes; default the cores this process may use. 1 runs the trials in this process.
    progress : callable, optional
        ``progress(label, done, total)``, called several times a second; what it raises, a
        KeyboardInterrupt say, ends the run. Finished trials stay in the store.
    label : str, default "trials"

    Returns
    -------
    list of dict
        As read back from JSON, so that a resumed run gives the same values as one that never
        stopped: tuples are lists.

    Raises
    ------
    InputError
        A function that is not at the top of a file, a case that is no mapping of JSON values,
        workers below 1.
    TrialError
        A trial raised, or its process died; the other trials are ended.

    Notes
    -----
    Processes are started afresh (spawn) and hold BLAS and OpenMP at one thread, as the serial run
    does, so that both round alike. A script needs ``if __name__ == "__main__"`` around its call.

    Examples
    --------
    In run.py, whose settings hold the path of a store::

        def trial(case):
            rng = np.random.default_rng(case["seed"])
            return {"error": ...}

        def run(settings, progress):
            cases = [{"m": m, "seed": seed} for m in settings["m"] for seed in range(10)]
            rows = run_trials(trial, cases, store=settings.get("store"), progress=progress)
    """
    path = _origin(function)
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers", "pass a positive number, or None for all cores")
    todo = {_key(case): dict(case) for case in cases}
    order, total = [_key(case) for case in cases], len(todo)
    version = _digest(path.read_text(encoding="utf-8"), function.__name__, __version__)
    results = {} if store is None else _read(store, version)
    todo = {key: case for key, case in todo.items() if key not in results}

    def tell() -> None:
        if progress is not None:
            progress(label, total - len(todo), total)

    count = min(available_cores() if workers is None else workers, len(todo))
    pending = list(todo.items())
    tell()
    with closing(
        _in_this_process(function, pending)
        if count <= 1
        else _in_processes(path, function.__name__, pending, count, tell)
    ) as finished:
        for key, text in finished:
            if store is not None:
                _append(store, version, key, text)
            results[key] = text
            del todo[key]
            tell()
    return [json.loads(results[key]) for key in order]


def _origin(function: Trial) -> Path:
    if not isfunction(function) or function.__qualname__ != function.__name__:
        raise InputError(f"{function!r} is no function at the top of a file", "define it there")
    path = Path(function.__code__.co_filename)
    if not path.is_file() or function.__name__ == "<lambda>":
        raise InputError(f"{function!r} comes from no file", "write it into a file, by def")
    return path.resolve()


def _json(value: Any, what: str) -> str:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is {value!r}", "use a mapping of JSON values")
    try:
        return json.dumps(dict(value), sort_keys=True, default=_plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} {value!r}: {error}", "use JSON values only") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _key(case: Mapping[str, Any]) -> str:
    return _digest(_json(case, "a case"))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _read(store: Path, version: str) -> dict[str, str]:
    """Return the results by key; lines cut short by a kill or of another version are skipped."""
    results: dict[str, str] = {}
    if not store.is_file():
        return results
    for line in store.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            if entry["version"] == version:
                results[entry["key"]] = json.dumps(entry["result"])
        except (ValueError, KeyError, TypeError):
            continue
    return results


def _append(store: Path, version: str, key: str, text: str) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        head = json.dumps({"version": version, "key": key})[:-1]
        stream.write(f'{head}, "result": {text}}}\n'.encode())


def _in_this_process(function: Trial, pending: list[tuple[str, dict[str, Any]]]) -> Finished:
    with threadpool_limits(1):
        for key, case in pending:
            try:
                text = _json(function(case), "the result")
            except Exception as error:
                raise TrialError(_failure(case, f"{type(error).__name__}: {error}")) from error
            yield key, text


def _in_processes(
    path: Path, name: str, pending: list[tuple[str, dict[str, Any]]], count: int,
    tell: Callable[[], None],
) -> Finished:  # fmt: skip
    """Hand cases to processes one by one; however this ends, the processes end with it."""
    # A pool of the standard library does not say which case killed its process (out of memory),
    # or waits for it for ever; and it ends only after the trials that are under way.
    context = get_context("spawn")
    queue = iter(pending)
    running: dict[connection.Connection, tuple[BaseProcess, str, dict[str, Any]]] = {}
    processes: list[BaseProcess] = []

    def hand_out(pipe: connection.Connection, process: BaseProcess) -> None:
        following = next(queue, None)
        if following is not None:
            running[pipe] = (process, *following)
            pipe.send(following[1])

    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(path, name, there), daemon=True)
            process.start()
            there.close()  # so that the death of the process reads as the end of the pipe
            processes.append(process)
            hand_out(here, process)
        while running:
            ready = connection.wait(list(running), HEARTBEAT_S)
            if not ready:
                tell()
            for pipe in ready:
                pipe = cast("connection.Connection", pipe)
                process, key, case = running.pop(pipe)
                try:
                    text, error, trace = pipe.recv()
                except (EOFError, ConnectionResetError):
                    process.join()
                    raise TrialError(
                        _failure(case, f"its process died (exit code {process.exitcode})")
                        + " Remedy: a smaller case or fewer workers, if memory ran out."
                    ) from None
                if text is None:
                    failure = TrialError(_failure(case, error))
                    failure.add_note(trace)
                    raise failure
                hand_out(pipe, process)
                yield key, text
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _work(path: Path, name: str, pipe: connection.Connection) -> None:
    """Run cases as they come, in a process of its own, until it is ended from outside."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches every process
    loaded: Trial | None = None
    while True:
        try:
            case = pipe.recv()
        except EOFError:  # the parent was killed
            return
        try:
            if loaded is None:
                loaded = cast(Trial, getattr(load_module(path), name))
                threadpool_limits(1)
            answer = (_json(loaded(case), "the result"), "", "")
        except Exception as error:
            answer = (None, f"{type(error).__name__}: {error}", traceback.format_exc())
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _failure(case: Mapping[str, Any], cause: str) -> str:
    return f"the trial of case {json.dumps(case, default=_plain)} failed: {cause}."
