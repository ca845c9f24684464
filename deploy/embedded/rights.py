"""
Gives up being root, but for the way to what lies below root's private folders.

Postgres refuses to be root. As another user it could not reach a project in `/root` (nor its own
binary there), so it may keep one right: to pass folders that are closed to it. Linux only; the
standard library only, for it runs in the script that becomes the server.
"""

import ctypes
import os
import pwd
import struct
import sys
from pathlib import Path

CAP_DAC_OVERRIDE = 1  # linux/capability.h; write as well: second choice
CAP_DAC_READ_SEARCH = 2
_CAP_SETPCAP = 8
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_SECUREBITS = 28  # linux/prctl.h
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
# linux/securebits.h: or access(2), which Postgres asks about its binary, would not count the right.
_SECBIT_NO_SETUID_FIXUP = 1 << 2


def passing() -> int | None:
    """Return the capability that lets a server pass closed folders; None: we have none to keep."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return None
    held = _permitted()
    if not held & 1 << _CAP_SETPCAP:
        return None
    return next((one for one in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held & 1 << one), None)


def become(user: str, *, keep: int | None = None) -> None:
    """Turn from root into *user*, keeping the capability *keep* across exec."""
    entry = pwd.getpwnam(user)
    if keep is not None:
        _call("prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if keep is not None:
        mask = 1 << keep
        header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
        _call("capset", header, struct.pack("6I", mask, mask, mask, 0, 0, 0))
        _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, keep, 0, 0)


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def _call(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{function} failed")
