"""What runs, in which order.

pipeline   a recipe on its data
stage      one stage from start to finish
campaign   many recipes, many seeds
"""
