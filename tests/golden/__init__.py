"""Documents of every format that ZeroG has had, as they were stored, and the class they are of.

``sqlite-first.sql`` was written by commit 2bf3123, ``sqlite-1.sql`` by the first code with a format promise, the other
dumps by ``dumps``, which a later format adds files with; none is changed or removed.
"""
