"""A recipe in a person's hands: what the command line and `gimstage.open` have in common.

session  the commands as methods
options  how to compute, in words; every default stands here once
results  what the methods answer: records that show themselves as tables
tables   a table that a terminal, a notebook and the command line show
display  progress while work goes on; what Ctrl-C does
"""
