"""The `ranklift` command line: argument names and help; each command's work is in its module."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from .console import EXIT_CERTIFIED, EXIT_NOT_CERTIFIED, emit_json, failures, say

app = typer.Typer(
    name="ranklift",
    help="Low-rank matrix recovery that certifies its answer.\n\n"
    "Exit codes: 0 certified, 3 not certified, 2 bad input.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Layout(StrEnum):
    """How a text or Parquet file is laid out."""

    auto = "auto"
    triplets = "triplets"
    table = "table"


class Duplicates(StrEnum):
    """What to do with an entry that is listed twice."""

    error = "error"
    mean = "mean"
    first = "first"


class Unobserved(StrEnum):
    """What to do with rows and columns without any entry."""

    error = "error"
    drop = "drop"


File = Annotated[
    Path,
    typer.Argument(
        help="CSV, TSV or Parquet (triplets, or a table with blanks), .npz, .npy or Matrix Market."
    ),
]
FormatOption = Annotated[Layout, typer.Option("--format", help="Layout of a text or Parquet file.")]
RowColumn = Annotated[
    str | None, typer.Option("--row-column", help="Name of the triplets' row column.")
]
ColumnColumn = Annotated[
    str | None, typer.Option("--column-column", help="Name of the triplets' column column.")
]
ValueColumn = Annotated[
    str | None, typer.Option("--value-column", help="Name of the triplets' value column.")
]
Delimiter = Annotated[str | None, typer.Option(help="Delimiter of a text file.")]
Decimal = Annotated[str, typer.Option(help="Decimal mark of a text file.")]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Whether the first line holds names.")
]
RowLabels = Annotated[
    bool | None,
    typer.Option("--row-labels/--no-row-labels", help="Whether a table's first column is labels."),
]
DuplicatesOption = Annotated[
    Duplicates, typer.Option("--duplicates", help="What to do with an entry listed twice.")
]
UnobservedOption = Annotated[
    Unobserved, typer.Option("--unobserved", help="What to do with rows and columns of blanks.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same result.")]


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        say(f"ranklift {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Low-rank matrix recovery that certifies its answer."""


@app.command()
def complete(
    file: File,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank of the answer; by default it is found.")
    ] = None,
    noise: Annotated[
        str,
        typer.Option(
            help="'auto' (offsets, scales and regularisation by hold-out), 'exact', or the "
            "noise's standard deviation; the last two fit the values as they are."
        ),
    ] = "auto",
    holdout: Annotated[
        float, typer.Option(help="Share of the entries kept out of the fit, for an honest error.")
    ] = 0.0,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="Result file, for ranklift verify.")] = Path(
        "result.npz"
    ),
    report: Annotated[Path, typer.Option(help="Report, one HTML file.")] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    completed: Annotated[
        Path | None,
        typer.Option(
            help="Also write the table with its blanks filled: .csv, .tsv, .parquet, .npz."
        ),
    ] = None,
    max_time: Annotated[
        float | None, typer.Option(help="Seconds after which the best answer is kept.")
    ] = None,
    tol: Annotated[
        float, typer.Option(help="Relative tolerance; for --noise exact or a number.")
    ] = 1e-8,
    json: Json = False,
    format: FormatOption = Layout.auto,
    row_column: RowColumn = None,
    column_column: ColumnColumn = None,
    value_column: ValueColumn = None,
    delimiter: Delimiter = None,
    decimal: Decimal = ".",
    header: Header = None,
    row_labels: RowLabels = None,
    duplicates: DuplicatesOption = Duplicates.error,
    unobserved: UnobservedOption = Unobserved.error,
) -> None:
    """Fill the blanks of a matrix, certify the answer, write result and report."""
    with failures(json):
        from .complete import CompleteOptions, complete_file

        options = CompleteOptions(
            rank=rank,
            noise=noise,
            holdout=holdout,
            seed=seed,
            max_time_s=max_time,
            tol=tol,
            output=output,
            report=None if no_report else report,
            completed=completed,
            command=command_line(),
        )
        reading = {
            "format": format.value,
            "row_column": row_column,
            "column_column": column_column,
            "value_column": value_column,
            "delimiter": delimiter,
            "decimal": decimal,
            "header": header,
            "row_labels": row_labels,
            "duplicates": duplicates.value,
            "unobserved": unobserved.value,
        }
        values, text, certified = complete_file(file, reading, options, quiet=json)
        _finish(values, text, certified, json)


@app.command()
def separate(
    video_or_images: Annotated[
        Path,
        typer.Argument(
            help="A video (needs pip install 'ranklift[video]'), a folder of images, or a .npy or "
            ".npz file of frames x height x width (x 3)."
        ),
    ],
    background: Annotated[
        Path | None,
        typer.Option(
            help="The background: a video (.mp4, .avi, .mkv; replaced if there) or a new folder. "
            "With none of --background, --foreground and --mask, the first two are written "
            "beside the input: .mp4 files for a video, else folders of .png."
        ),
    ] = None,
    foreground: Annotated[
        Path | None,
        typer.Option(help="What moves, in its colours on black: a video or a new folder."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="White where something moves: a video or a new folder; only images are exact."
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Rank of the background; by default the one that shows."),
    ] = None,
    sample: Annotated[
        int, typer.Option(help="Number of evenly spaced frames to fit, at most.")
    ] = 60,
    max_frames: Annotated[
        int | None, typer.Option(help="Use only so many frames, the first ones.")
    ] = None,
    step: Annotated[int, typer.Option(help="Write every STEP-th frame only.")] = 1,
    threshold: Annotated[
        float,
        typer.Option(
            help="Foreground is what differs by more standard deviations of a pixel's residual."
        ),
    ] = 5.0,
    max_time: Annotated[
        float | None, typer.Option(help="Seconds after which the best fit is kept.")
    ] = None,
    result: Annotated[
        Path | None, typer.Option(help="Result file of the fit (.npz), for ranklift verify.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Report of the fit, one HTML file.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Split a video into its background and what moves before it.

    Ctrl-C during the fit uses the best background so far; while frames are written, it closes the
    files with the frames so far (exit code 3).
    """
    with failures(json):
        from .separate import SeparateOptions, separate_file

        options = SeparateOptions(
            background=background,
            foreground=foreground,
            mask=mask,
            result=result,
            report=report,
            rank=rank,
            sample=sample,
            threshold=threshold,
            seed=seed,
            max_frames=max_frames,
            step=step,
            max_time_s=max_time,
            command=command_line(),
        )
        _finish(*separate_file(video_or_images, options, quiet=json), json)


@app.command()
def verify(
    result: Annotated[Path, typer.Argument(help="A result file of ranklift, or of Recovery.save.")],
    json: Json = False,
) -> None:
    """Recompute every check of a result file from its data and factors alone."""
    with failures(json):
        from .verify import verify_result

        _finish(*verify_result(result), json)


class Structure(StrEnum):
    """What is known of the unknown matrix."""

    auto = "auto"
    general = "general"
    psd = "psd"
    indefinite = "indefinite"


class LossName(StrEnum):
    """How fitted measurements are compared with the given ones."""

    squared = "squared"
    huber = "huber"
    absolute = "absolute"
    logistic = "logistic"


class SelectionName(StrEnum):
    """Which of the matrices that fit is the answer."""

    flat = "flat"
    nuclear = "nuclear"
    min_norm = "min_norm"


class Outliers(StrEnum):
    """What is grossly wrong: single entries or whole columns."""

    entries = "entries"
    columns = "columns"


LossOption = Annotated[
    LossName,
    typer.Option(
        "--loss",
        help="squared: Gaussian noise; huber: some gross errors, with --threshold; absolute: "
        "robust, finds gross errors and noise itself; logistic: b of -1 and 1 (1-bit data).",
    ),
]
SenseNoise = Annotated[
    str,
    typer.Option(
        "--noise",
        help="'auto' (what a problem file says, else by hold-out), 'exact', 'estimate' (by "
        "hold-out), or the noise's standard deviation.",
    ),
]


@app.command()
def sense(
    problem: Annotated[
        Path, typer.Argument(help="A problem .npz: arrays by name (below), or of write_problem.")
    ],
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank of the answer; by default it is found.")
    ] = None,
    structure: Annotated[
        Structure,
        typer.Option(
            help="psd: positive semidefinite, indefinite: symmetric. 'auto' takes what the file "
            "says, else psd for vectors, strings and pairs, general for the rest."
        ),
    ] = Structure.auto,
    noise: SenseNoise = "auto",
    loss: LossOption = LossName.squared,
    threshold: Annotated[
        float | None,
        typer.Option(help="Of --loss huber, in units of b; by default 1.345 times --noise."),
    ] = None,
    selection: Annotated[
        SelectionName | None,
        typer.Option(
            help="Of the matrices that fit: the flattest solution, the least nuclear norm, or the "
            "least factors at --rank. By default the least rank found."
        ),
    ] = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="Result file, for ranklift verify.")] = Path(
        "result.npz"
    ),
    report: Annotated[Path, typer.Option(help="Report, one HTML file.")] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    factors: Annotated[
        Path | None,
        typer.Option(
            help="Also write left, right (X = left right^T; of pairs, left holds the points) and "
            "singular_values: .npz."
        ),
    ] = None,
    estimate: Annotated[
        Path | None, typer.Option(help="Also write the full matrix: .npy or .csv.")
    ] = None,
    max_time: Annotated[
        float | None, typer.Option(help="Seconds after which the best answer is kept.")
    ] = None,
    tol: Annotated[float, typer.Option(help="Relative tolerance of the refit.")] = 1e-8,
    json: Json = False,
) -> None:
    """Recover a low-rank matrix X from linear measurements of it, and certify the answer.

    The file is written by np.savez. It holds b (or y), m measurements, and one of:

    A (m x n1 x n2, or m x n1*n2 with shape): inner products <A_t, X>

    left (m x n1), right (m x n2): left_t' X right_t

    vectors (m x n, real or complex): v_t X v_t^H; field="real" for a real X

    strings (m, text such as XIZ): Pauli expectation values of a quantum state

    pairs (m x 2), n_points (optional): b are SQUARED distances of points numbered from 0; name
    them distances instead of b where they are not squared. The answer is centred.

    rows, cols (numbered from 0), shape (optional): single entries

    Optional: noise (standard deviation, 0: exact), symmetric (true: psd; or a --structure), truth
    (X, for the error only). A too large for the memory is read from the disk.
    """
    with failures(json):
        from .sense import SenseOptions, sense_file

        options = SenseOptions(
            rank=rank,
            structure=structure.value,
            noise=noise,
            loss=loss.value,
            threshold=threshold,
            selection=None if selection is None else selection.value,
            max_time_s=max_time,
            tol=tol,
            seed=seed,
            output=output,
            report=None if no_report else report,
            factors=factors,
            estimate=estimate,
            command=command_line(),
        )
        _finish(*sense_file(problem, options, quiet=json), json)


@app.command()
def recover(
    file: Annotated[
        Path, typer.Argument(help="A table or triplets as of complete, or a problem .npz.")
    ],
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank of the answer; by default it is found.")
    ] = None,
    noise: SenseNoise = "auto",
    robust: Annotated[
        bool, typer.Option("--robust", help="Some values are grossly wrong: --loss absolute.")
    ] = False,
    outliers: Annotated[
        Outliers,
        typer.Option(help="With --robust: whether single entries or whole columns are wrong."),
    ] = Outliers.entries,
    outliers_file: Annotated[
        Path | None, typer.Option(help="With --robust: also write the gross errors: .csv.")
    ] = None,
    loss: LossOption = LossName.squared,
    threshold: Annotated[
        float | None,
        typer.Option(help="Of --loss huber, in units of the data; default 1.345 times --noise."),
    ] = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="Result file, for ranklift verify.")] = Path(
        "result.npz"
    ),
    report: Annotated[Path, typer.Option(help="Report, one HTML file.")] = Path("report.html"),
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    max_time: Annotated[
        float | None, typer.Option(help="Seconds after which the best answer is kept.")
    ] = None,
    json: Json = False,
) -> None:
    """Find out what a file is, and do what complete or sense does.

    An incomplete table, triplets or a Matrix Market file: as ranklift complete; with another loss
    (--robust among them) the values are fitted as they are, without offsets. A problem .npz: as
    ranklift sense. The result file also holds the gross errors of --robust. Videos and folders of
    images belong to ranklift separate.
    """
    with failures(json):
        from .recover import recover_file
        from .sense import SenseOptions

        options = SenseOptions(
            rank=rank,
            noise=noise,
            loss=loss.value,
            threshold=threshold,
            outliers=outliers.value,
            outliers_file=outliers_file,
            max_time_s=max_time,
            seed=seed,
            output=output,
            report=None if no_report else report,
            command=command_line(),
        )
        _finish(*recover_file(file, options, robust=robust, quiet=json), json)


@app.command()
def info(
    file: File,
    json: Json = False,
    format: FormatOption = Layout.auto,
    row_column: RowColumn = None,
    column_column: ColumnColumn = None,
    value_column: ValueColumn = None,
    delimiter: Delimiter = None,
    decimal: Decimal = ".",
    header: Header = None,
    row_labels: RowLabels = None,
    duplicates: DuplicatesOption = Duplicates.error,
) -> None:
    """Say what a file holds and which ranks its entries could determine."""
    with failures(json):
        from ..io import read_incomplete
        from .info import data_facts, describe

        data = read_incomplete(
            file,
            format=cast("Any", format.value),
            row_column=row_column,
            column_column=column_column,
            value_column=value_column,
            delimiter=delimiter,
            decimal=decimal,
            header=header,
            row_labels=row_labels,
            duplicates=cast("Any", duplicates.value),
            unobserved="keep",
        )
        facts = data_facts(data)
        if json:
            emit_json(
                {
                    "file": data.source,
                    "sha256": data.sha256,
                    "layout": data.layout,
                    **facts.to_dict(),
                    "exit_code": EXIT_CERTIFIED,
                }
            )
        else:
            say(describe(data, facts))


@app.command(name="reproduce")
def reproduce_claim(
    name: Annotated[
        str | None, typer.Argument(help="Of a folder in reproductions/; without it, a list.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="quick: a minute or two; full: as the source.")
    ] = "quick",
    output: Annotated[
        Path | None, typer.Option(help="Folder for table and figures; default NAME/results.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a published or own claim again and judge every number (exit code 3: not reproduced)."""
    with failures(json):
        from .reproduce import list_reproductions, run_reproduction

        if name is None:
            _finish(*list_reproductions(), json)
        _finish(*run_reproduction(name or "", size=size, output=output, quiet=json), json)


@app.command()
def demo(
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="Result file, for ranklift verify.")] = Path(
        "demo.npz"
    ),
    report: Annotated[Path, typer.Option(help="Report, one HTML file.")] = Path("demo.html"),
    json: Json = False,
) -> None:
    """Predict held-out movie ratings (MovieLens) and certify the fit."""
    with failures(json):
        from .demo import run_demo

        values, text, certified = run_demo(
            seed=seed, output=output, report=report, command=command_line(), quiet=json
        )
        _finish(values, text, certified, json)


def command_line() -> str:
    """Return the command as typed, for provenance."""
    import shlex

    return shlex.join(["ranklift", *sys.argv[1:]])


def _finish(values: dict[str, Any], text: str, certified: bool, as_json: bool) -> None:
    code = EXIT_CERTIFIED if certified else EXIT_NOT_CERTIFIED
    if as_json:
        emit_json({**values, "exit_code": code})
    else:
        say(text)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; the entry point of the `ranklift` script."""
    app()


if __name__ == "__main__":
    main()
