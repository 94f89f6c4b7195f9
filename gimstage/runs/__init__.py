"""What stages and probes leave behind, and whether it may be trusted.

folder    one stage's or probe's folder: its files
locks     who works on such a folder, and that nobody else does; leases as they are signed
state     missing, partial, done, stale or damaged
manifest  the commit record as a type
tensors   weights and checkpoints
damage    what is in the way or damaged, before a folder is worked on
"""
