"""Files in folders such as /tmp, where another user may have put a file or a link of the same name first.

The rule is the one of Linux's ``fs.protected_symlinks`` and ``fs.protected_regular`` (admin-guide/sysctl/fs), which not
every system has switched on, and which don't cover a file that is there already and is opened without ``O_CREAT``.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def check_owner(path: str | Path) -> None:
    """Refuse another user's file or link in a folder where every user can create files.

    Raises PermissionError unless this process's user or the folder's owner owns it. In a folder that isn't sticky, or
    that not every user can write to, those who can write there are trusted.
    """
    try:
        folder = os.stat(os.path.dirname(os.path.abspath(path)))
        owner = os.lstat(path).st_uid
    except (FileNotFoundError, NotADirectoryError):
        return
    is_public = bool(folder.st_mode & stat.S_IWOTH and folder.st_mode & stat.S_ISVTX)
    if is_public and owner not in (os.geteuid(), folder.st_uid):
        what = "a link" if os.path.islink(path) else "a file"
        reason = f"it is {what} of user {owner} in a folder where every user can create files; use one of your own"
        raise PermissionError(errno.EACCES, reason, str(path))
