"""The command line: the only part that prints or exits.

base    options, answers, errors, signals
main    plan, train, probe, look
data    fetch, check, synthesise data sets
"""

from gimstage.cli.data import data
from gimstage.cli.main import main

main.add_command(data)

__all__ = ["main"]
