"""The wire protocol: the commands that the script of a Redis server takes, and the words in them.

A call sends a JSON list of commands, each an object with a ``command`` and its other words, and gets one reply for each
and the server's time in microseconds. A reply of 0 means that nothing was changed: the document has another token or
run, or the entry is gone. A word has one meaning, whatever the command.
"""

COMMANDS = {
    "read": "key, whole -> token, head as JSON members, names of its lists, and with whole the lists; 0",
    "store": "token, and a stored document -> the new token; 0",
    "remove": "key, token -> 1; 0 if there is none; 2 for another token",
    "discard": "key, fields that have to be as they are -> 1; 0",
    "mutate": "key, token, epoch, nonce, seq_before, seq, fields, attrs, lastError, operations, measured, put, "
    "brief -> token, whether a cancel is requested, values of the operations; with brief the token; 0",
    "claim": "those of mutate, and entry, which leaves its queue, or is released if nothing changes",
    "submit": "documents, each with put and kind -> for each its token and the id of its entry; 0 if one exists",
    "find": "status, due, until_time with job_type, or order with since, until_time; after, limit -> "
    "members of one index, in order; without a status those of each",
    "tally": "keys, fields -> how many of these documents have these fields, and the keys of those to be read",
    "list": "index, members -> 1; corrects that index",
    "take": "queues, want, turn, reservation, or key_prefix and claims -> how many were rejected, and for each entry "
    "its queue, itself, token, head, and the name and epoch of its claim",
    "put": "put -> the id of the entry",
    "ack": "entry -> 1; removes it at the end of the call",
    "back": "entry, delay -> 1; 0; releases it without a reservation",
    "aside": "entry, to -> 1; 0; moves it to another queue",
    "drop": "entry -> 1; 0; removes a reserved entry",
    "release": "entry, delay -> 1; 0",
    "withdraw": "queue, entry -> 1, or 0 if it isn't there",
    "holds": "queue, entries -> 1 or 0 for each",
    "peek": "queues -> whether one is ready, microseconds until the next one or -1",
    "size": "queue -> how many entries it has",
    "wake": "bell -> 1; ends one wait for that list",
}
"""What each command takes and what it replies."""

WORDS = {
    "command": "name of the command",
    "key": "key of a document",
    "keys": "keys of documents",
    "token": "token that the document has to have; * for any",
    "epoch": "epoch that it has to have",
    "nonce": "part of its owner as JSON that has to be there: the name of the run",
    "seq_before": "number of the run's last write that it has to have",
    "seq": "number of this write",
    "fields": "flat list of field names, as the hash has them, and JSON texts",
    "attrs": "JSON list of the terms of that field, each a list of name and text",
    "lastError": "the same of that one",
    "operations": "flat list of operations: m max, a add, h append, s set, each with its field and values",
    "measured": "1 to bound the bytes of the lists that are appended to, too",
    "brief": "1 for a reply with the token alone",
    "whole": "1 to read the history, too",
    "first_token": "token of a new document",
    "body": "JSON members of a document that are not fields of the hash",
    "lists": "names of its history lists",
    "history": "texts of its history entries, by list",
    "put": "entry to be put: queue, uuid, delay, priority, ttr, 1 for the front",
    "kind": "type, schema version and layout of a job, for claims without a look",
    "documents": "documents to be created",
    "status": "status that jobs have to have; within claims that of a claimed job",
    "due": "timestamp: jobs whose due is not later",
    "job_type": "type of ended jobs",
    "until_time": "timestamp: ended jobs whose finishedAt is not later; with an order any whose createdAt is not later",
    "order": "oldest or newest first, by createdAt",
    "since": "timestamp: jobs whose createdAt is not earlier",
    "after": "place of the last member of the page before",
    "limit": "how many members at most",
    "index": "name of an index, ended or created",
    "members": "places in that index, with keys",
    "queue": "name of a queue",
    "queues": "names of queues, in order of priority",
    "want": "how many entries at most",
    "turn": "claims made so far, for the fair share of low priorities",
    "reservation": "name under which entries are reserved",
    "claims": "what the claims of a take have in common",
    "key_prefix": "what the key of a document begins with, before the uuid",
    "kinds": "kinds of jobs that may be claimed without a look",
    "owner": "the owner as JSON, before and after the name of its claim",
    "name": "what the names of these claims begin with",
    "now": "the time of the claims, as JSON",
    "size": "how many of the fields are the same for each claim",
    "entry": "queue, entry and, for a reserved one, its reservation",
    "entries": "entries of one queue",
    "delay": "seconds",
    "to": "name of the queue that an entry is moved to",
    "bell": "list that a waiting consumer pops from",
}
"""What each word means."""
