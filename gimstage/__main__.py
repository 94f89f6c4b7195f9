"""`python -m gimstage`, for where the console script is not on the path."""

from gimstage.cli import main

main(prog_name="gimstage")
