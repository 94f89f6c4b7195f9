"""The command line: the only part that prints or exits.

base     options, answers, errors, signals; arguments and streams, what those may hold or take
main     plan, train, probe
look     inspect, verify, report
recipes  which recipes come along
init     a recipe for somebody's data
tables   run all recipes of the paper's tables
data     fetch and synthesise data sets; data_check looks at any, data_import writes out others
"""

from gimstage.cli.data import data
from gimstage.cli.data_check import check
from gimstage.cli.data_import import import_
from gimstage.cli.init import init
from gimstage.cli.look import inspect, report, verify
from gimstage.cli.main import main
from gimstage.cli.recipes import recipes
from gimstage.cli.tables import tables

data.add_command(check)
data.add_command(import_)
for command in (inspect, verify, report, data, tables, recipes, init):
    main.add_command(command)

__all__ = ["main"]
