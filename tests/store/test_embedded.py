"""The Redis of a single machine: one per folder, joined by others, taken over, its data kept, its failures named."""

import asyncio
import os
import signal
import stat
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from drafts import end, jobs_on, submitted
from redis.asyncio import Redis

from gateway.core.errors import StoreError
from gateway.settings import Settings
from gateway.store import embedded
from gateway.store.backend import open_backend
from gateway.store.embedded import SOCKET_PATH_LIMIT, embedded_redis, server_binary, state_folder
from tests.conftest import AT_ONCE_SECONDS, NO_REDIS, PATIENCE_SECONDS, PATIENT, eventually

pytestmark = pytest.mark.skipif(server_binary() is None, reason=NO_REDIS)


@asynccontextmanager
async def joined(folder, **options):
    """Start or join the folder's server; yield a client of it."""
    async with embedded_redis(folder, **options) as found, Redis.from_url(found.url) as redis:
        yield redis


@pytest.fixture
def folder(tmp_path):
    return state_folder(tmp_path / "state", "a-site")


async def server_of(redis):
    return (await redis.info("server"))["process_id"]


def alive(pid):
    """Tell whether a process lives; one that only waits for its parent does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


async def answers(redis):
    with suppress(Exception):
        return await redis.ping()
    return False


async def test_the_server_is_this_users_alone_and_ends_with_its_block(folder):
    async with joined(folder) as redis:
        pid = await server_of(redis)
        settings = await redis.config_get("port", "maxmemory-policy", "appendonly")
        assert settings == {"port": "0", "maxmemory-policy": "noeviction", "appendonly": "yes"}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "redis.sock").stat().st_mode) == 0o700
    assert not alive(pid)


async def test_what_was_written_is_there_after_a_restart(folder):
    async with joined(folder) as redis:
        jobs = jobs_on(redis)
        kept = (await submitted(jobs)).job
        done = (await submitted(jobs, vm=35)).job
        await end(jobs, done.id)
    async with joined(folder) as redis:
        jobs = jobs_on(redis)
        assert await jobs.get(kept.id) == kept
        assert [job.id for job in await jobs.open()] == [kept.id]
        assert (await submitted(jobs)).job.id == kept.id


async def test_a_server_that_keeps_nothing_forgets(folder):
    async with joined(folder, durable=False) as redis:
        await redis.set("asked", "power off")
    async with joined(folder, durable=False) as redis:
        assert await redis.get("asked") is None


async def test_others_join_and_may_leave_first(folder):
    async with joined(folder) as first:
        async with joined(folder) as second, joined(folder) as third:
            assert len({await server_of(redis) for redis in (first, second, third)}) == 1
            await second.set("asked", "by the second")
        assert await first.get("asked") == b"by the second"


async def test_many_at_once_start_one_server(folder):
    pids, all_there = [], asyncio.Barrier(8)

    async def take_part():
        async with joined(folder) as redis:
            pids.append(await server_of(redis))
            await all_there.wait()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(take_part() for _ in range(8)))
    assert len(set(pids)) == 1
    assert not alive(pids[0])


async def test_who_joined_takes_over_when_the_owner_ends_and_nothing_is_lost(folder):
    async with joined(folder) as owner_client:
        old = await server_of(owner_client)
        joining = joined(folder)
        redis = await joining.__aenter__()
        await redis.set("asked", "before")
    try:
        await eventually(lambda: answers(redis))
        assert await redis.get("asked") == b"before"
        assert await server_of(redis) != old
    finally:
        await joining.__aexit__(None, None, None)


@pytest.mark.parametrize("who", ["owner", "joiner"])
async def test_a_server_that_was_killed_is_started_again(folder, who):
    async with joined(folder) as owner, joined(folder) as joiner:
        await owner.set("asked", "before")
        await owner.config_set("appendfsync", "always")
        await owner.set("asked", "just before")
        old = await server_of(owner)
        os.kill(old, signal.SIGKILL)
        redis = owner if who == "owner" else joiner
        await eventually(lambda: answers(redis))
        assert await redis.get("asked") == b"just before"
        assert await server_of(redis) != old


OWNER = """
import asyncio, pathlib, sys
from gateway.store.embedded import embedded_redis

async def own():
    async with embedded_redis(pathlib.Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(own())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_an_owner_that_is_killed_takes_its_server_along_and_a_joiner_goes_on(folder):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(folder)), env=env, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await owner.stdout.readline() == b"ready\n"
    async with joined(folder) as redis:
        await redis.config_set("appendfsync", "always")
        await redis.set("asked", "before")
        old = await server_of(redis)
        owner.kill()
        await owner.wait()
        await eventually(lambda: not alive(old))
        await eventually(lambda: answers(redis))
        assert await redis.get("asked") == b"before"


async def test_a_long_state_path_gets_a_short_socket_for_this_user_alone(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        folder = state_folder(tmp_path / ("long" * 30), "a-site")
        other = state_folder(tmp_path / ("long" * 30), "another-site")
        async with embedded_redis(folder) as found, embedded_redis(other) as second:
            path = Path(found.url.removeprefix("unix://"))
            assert len(str(path)) <= SOCKET_PATH_LIMIT < len(str(folder))
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert second.url != found.url
            async with Redis.from_url(found.url) as redis:
                assert await redis.ping()


async def test_a_socket_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        monkeypatch.setattr(embedded.os, "getuid", lambda: os.geteuid() + 1)
        with pytest.raises(StoreError, match="belongs to somebody else") as refused:
            async with embedded_redis(state_folder(tmp_path / ("long" * 30), "a-site")):
                pass
        assert "STATE_DIR" in refused.value.next_step


async def test_a_server_that_cannot_start_says_at_once_where_its_reason_stands(folder, monkeypatch):
    monkeypatch.setattr(embedded, "START_SECONDS", 2 * AT_ONCE_SECONDS)
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "appendonlydir" / "appendonly.aof.manifest").write_text("this is no manifest\n")
    began = time.monotonic()
    with pytest.raises(StoreError, match="does not start") as refused:
        async with embedded_redis(folder):
            pass
    assert time.monotonic() - began < AT_ONCE_SECONDS
    log = folder / embedded.LOG_NAME
    assert str(log) in refused.value.next_step
    assert log.read_text().count("manifest") <= 3  # tried once, not in a storm
    (folder / "appendonlydir" / "appendonly.aof.manifest").unlink()
    async with joined(folder) as redis:  # the lock was given back
        assert await redis.ping()


async def test_a_server_that_never_answers_is_given_up_and_left_nowhere(folder, monkeypatch):
    folder.mkdir(parents=True)
    mute = folder / "mute-server"
    mute.write_text(f"#!/bin/sh\necho $$ > {folder}/pid\nexec sleep 60\n")
    mute.chmod(0o700)
    monkeypatch.setattr(embedded, "server_binary", lambda: str(mute))
    monkeypatch.setattr(embedded, "START_SECONDS", 2.0)
    with pytest.raises(StoreError, match="does not start"):
        async with embedded_redis(folder):
            pass
    assert not alive(int((folder / "pid").read_text()))


async def test_without_any_server_it_is_fakeredis_which_says_that_it_keeps_nothing(monkeypatch):
    monkeypatch.setattr(embedded, "server_binary", lambda: None)
    settings = Settings(vergeos_host="verge.invalid", state_dir=Path("/proc/nothing/is/made"), _env_file=None)
    async with open_backend(settings) as backend:
        assert (backend.url, backend.durable) == (None, False)
        assert "not durable" in backend.words
        async with backend.open(PATIENT) as redis, backend.open(PATIENT) as other:
            await redis.set("asked", "power off")
            assert await other.get("asked") == b"power off"


async def test_a_state_folder_that_cannot_be_made_is_named_with_what_to_do():
    with pytest.raises(StoreError, match="/proc/nothing cannot be made") as told:
        async with embedded_redis(Path("/proc/nothing")):
            pass
    assert "STATE_DIR" in told.value.next_step


async def test_each_site_has_a_server_of_its_own(tmp_path):
    async def kept(host):
        settings = Settings(vergeos_host=host, state_dir=tmp_path, _env_file=None)
        async with open_backend(settings) as backend, backend.open(PATIENT) as redis:
            before = await redis.get("asked")
            await redis.set("asked", host)
            return before

    assert [await kept(host) for host in ("one.invalid", "two.invalid", "one.invalid")] == [None, None, b"one.invalid"]
