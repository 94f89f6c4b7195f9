"""What runs, in which order.

pipeline   a recipe on its data
stage      one stage from start to finish
probe      one probe from start to finish
campaign   many recipes, many seeds
records    what a manifest says of a training
verify     whether all that lies there is as the manifests say
"""
