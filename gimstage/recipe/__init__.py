"""From a folder of TOML files to chains of stages, and what decides their numbers.

recipe     a folder, read, checked and resolved
chain      a stage and all below it, down to the data
identity   what decides a result, its fingerprint, and what differs between two
checks     what no single file can be wrong about
restored   a chain made again from what a manifest says of it
names      what runs, stages and modules are called
"""
