"""The owner of a lock, and whether it is alive."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.output.lock_owner import LockOwner
from transforms.errors import SettingError

ME = LockOwner.this_process()


def test_the_owner_is_of_this_process():
    assert (ME.host, ME.pid) == (socket.gethostname(), os.getpid())
    assert ME.is_alive() and ME.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert LockOwner.decode(ME.encode(), "") == ME


def test_a_beat_changes_nothing_but_its_number():
    later = ME.next_beat()
    assert later.beat == ME.beat + 1 and dataclasses.replace(later, beat=ME.beat) == ME


def test_a_process_that_ended_or_began_at_another_time_is_dead():
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    assert dataclasses.replace(ME, pid=ended.pid).is_alive() is False
    assert dataclasses.replace(ME, process_started=ME.process_started + 1).is_alive() is False


@pytest.mark.parametrize("elsewhere", [{"boot_id": "other"}, {"boot_id": ""}, {"pid_namespace": "other"}])
def test_a_process_elsewhere_cannot_be_checked(elsewhere):
    assert dataclasses.replace(ME, **elsewhere).is_alive() is None


def test_a_later_version_may_add_fields_but_types_must_fit():
    assert LockOwner.decode(json.dumps({**vars(ME), "more": 1}).encode(), "") == ME
    with pytest.raises(SettingError, match=r"^lock: is not a lock of this version .*pid is '1'"):
        LockOwner.decode(json.dumps({**vars(ME), "pid": "1"}).encode(), "lock")
    assert f"process {ME.pid} on {ME.host}" in str(ME)
