"""The Redis that compose and Kubernetes start: by its own script, with its own files."""

import os
import signal
import subprocess
from contextlib import suppress

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as NotReached

from tests.conftest import PATIENCE_SECONDS, eventually, free_port
from tests.deploy.programs import ROOT

FILES = ROOT / "k8s/base/redis"
SECRET = "s3cret"


class DeployedRedis:
    """start.sh with its folders below `folder`."""

    def __init__(self, folder, binary):
        self.port = free_port()
        for name in ("data", "run", "bin"):
            (folder / name).mkdir()
        (folder / "bin/redis-server").symlink_to(binary)
        for path in FILES.iterdir():
            text = path.read_text().replace("/run/redis", f"{folder}/run").replace("dir /data", f"dir {folder}/data")
            (folder / path.name).write_text(text)
        with (folder / "redis.conf").open("a") as conf:
            conf.write(f"port {self.port}\nbind 127.0.0.1\n")
        self._folder = folder

    async def start(self, password=SECRET):
        """Return the code with which it ended, None if it answers instead."""
        self._launch(password)
        await eventually(lambda: self._process.poll() is not None or self._answers())
        return self._process.poll()

    def _launch(self, password):
        environment = {"PATH": f"{self._folder}/bin:{os.environ['PATH']}", "REDIS_PASSWORD": password}
        command = ["/bin/sh", self._folder / "start.sh"]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def _answers(self):
        with suppress(NotReached), self.client() as client:
            return client.ping()

    def client(self, user="gateway", password=SECRET):
        return Redis(port=self.port, username=user, password=password, decode_responses=True)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        _, said = self._process.communicate(timeout=PATIENCE_SECONDS)
        return said.decode()


@pytest.fixture
def deployed(redis_program, tmp_path):
    made = DeployedRedis(tmp_path, redis_program)
    yield made
    made.kill()


async def test_what_was_accepted_is_there_after_redis_was_killed(deployed):
    """Transactions above all: Redis reads them back with the rights of the user `default`."""
    await deployed.start()
    with deployed.client() as client:
        client.pipeline(transaction=True).set("vg:a", "1").rpush("vg:b", "2").execute()
        client.set("vg:c", "3")
    deployed.kill()
    await deployed.start()
    with deployed.client() as client:
        assert (client.get("vg:a"), client.lrange("vg:b", 0, -1), client.get("vg:c")) == ("1", ["2"], "3")


async def test_nobody_comes_in_but_the_gateway_s_user_and_he_may_not_do_all(deployed):
    await deployed.start()
    for user, password in ((None, None), ("default", ""), ("default", SECRET), ("gateway", "guessed")):
        with deployed.client(user, password) as client, pytest.raises(AuthenticationError):
            client.get("vg:a")
    with deployed.client() as client:
        for forbidden in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "another:key")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*forbidden)


@pytest.mark.parametrize("password", ["", "two words", "p@ss/w0rd"])
async def test_a_password_that_no_url_can_hold_is_refused_at_the_start(deployed, password):
    assert await deployed.start(password) not in {0, None}
    assert "REDIS_PASSWORD" in deployed.kill()


def test_nothing_is_pushed_out_and_every_write_is_on_the_disk_before_its_answer():
    said = (FILES / "redis.conf").read_text().splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(said)
