"""`python -m ranklift`: the command-line tool."""

from .cli.app import main

if __name__ == "__main__":
    main()
