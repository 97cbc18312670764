"""``zerog rehearse``: documents are judged by a process of their own, which the code that it tries may end."""
