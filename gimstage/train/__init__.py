"""Training one stage.

loop      batches, checkpoints, progress
step      one optimiser step, whole or in micro-batches
metrics   what is logged on the way
"""
