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
def verify(
    result: Annotated[Path, typer.Argument(help="A result file of ranklift complete.")],
    json: Json = False,
) -> None:
    """Recompute every check of a result file from its data and factors alone."""
    with failures(json):
        from .verify import verify_result

        _finish(*verify_result(result), json)


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
