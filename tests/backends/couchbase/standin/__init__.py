"""A stand-in for Couchbase Server: as much of it as ZeroG needs, in a separate process, for the real SDK.

It speaks the binary key-value protocol over loopback (framing in ``protocol``, what the requests do in ``connection``
and ``documents``, sub-document paths in ``subdocument``, logging in in ``login``) and, if asked to, answers the SQL++
statements that ZeroG uses (``query``). What it does was compared with two other imitations of the server; no real
server was at hand. Nothing is kept on disk, there is one node, and faults are set on demand (``faults``).
"""
