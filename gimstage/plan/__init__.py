"""What a recipe will cost, before it runs: GPU memory, disk, operations, hours.

cost          the plan of every stage
fit           the fastest exact step within a budget of GPU memory
memory        the peak of a step, predicted from a trace without numbers
allocator     how CUDA's caching allocator rounds and reserves
calibration   how fast this device and this disk are
"""
