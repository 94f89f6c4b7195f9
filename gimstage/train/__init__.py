"""Training one stage.

loop         batches, progress
step         one optimiser step, whole or in micro-batches
checkpoints  what training goes on from
metrics      what is logged on the way
"""
