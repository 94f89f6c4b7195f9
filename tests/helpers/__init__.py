"""What tests of several rooms share.

homes       folders in which a small recipe runs, and what tests ask of them
recipes     recipes that train the modules of a small one together, written for a test
golden      what golden fixtures mean in our words
stores      feature stores of small sizes
manifests   runs written by hand, for the report
paper       every run of the paper's tables, written by hand
"""
