"""The command line: the only part that prints or exits.

base    options, answers, errors, signals
main    plan, train, probe, look
tables  run all recipes of the paper's tables
data    fetch, check, synthesise data sets
"""

from gimstage.cli.data import data
from gimstage.cli.main import main
from gimstage.cli.tables import tables

main.add_command(data)
main.add_command(tables)

__all__ = ["main"]
