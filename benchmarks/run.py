"""`make bench`: every benchmark's rows as one table; exit 1 where a bound is missed.

python benchmarks/run.py [NAME …]       only benchmarks/bench_NAME.py
"""

import importlib
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all; the number of bounds missed."""
    table = Table("what", "measured", "reach", "", "behind it")
    missed = 0
    for name in names or sorted(p.stem.removeprefix("bench_") for p in HERE.glob("bench_*.py")):
        for row in importlib.import_module(f"bench_{name}").rows():
            sign = "≤" if row.at_most else "≥"
            verdict = "reached" if row.reached else "missed"
            missed += not row.reached
            figures = f"{row.measured:.3g}", f"{sign} {row.reach:g}"
            table.add_row(row.what, *figures, verdict, row.note)
            print(f"{row.what}: {figures[0]} ({figures[1]}, {verdict}) {row.note}", file=sys.stderr)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    return missed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
