"""Data sets on disk: reading them, writing small synthetic ones, fetching and checking them.

Each source is a file of its own and knows nothing of the others; there is nothing to import from
the package itself. It may import `errors` and `draws`, no other part of gimstage.
"""
