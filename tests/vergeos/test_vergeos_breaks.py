"""Every way in which a connection can fail, over real sockets: what it is called, and how often it was tried."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
import struct

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.core.errors import (
    VergeOSBadAnswer,
    VergeOSBusy,
    VergeOSCertificate,
    VergeOSDropped,
    VergeOSNotFound,
    VergeOSTimeout,
    VergeOSUnreachable,
)
from gateway.vergeos.client import _backoff_seconds

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


def reply(status, body, *headers, length=None):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reset(writer):
    """Close with a TCP reset, as VergeOS does when pressed."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def in_turn(*acts):
    """Serve the n-th request, on whatever connection, by the n-th act: bytes to send, "reset", "end" or "hang"."""

    async def serve(sock, reader, writer):
        while await sock.take(reader):
            act = acts[min(len(sock.requests), len(acts)) - 1]
            if act == "reset":
                return reset(writer)
            if act == "end":
                return writer.close()
            if act == "hang":
                return await asyncio.Event().wait()
            writer.write(act)
            await writer.drain()
        return None

    return serve


def read(client):
    return client.rows("vms", fields="$key")


def act(client):
    return client.action("vm_actions", {"vm": 1, "action": "poweroff", "params": {}})


async def test_a_refused_connection_is_unreachable_and_surely_without_effect(client_for, unused_tcp_port):
    client = await client_for(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(VergeOSUnreachable, match=r"GET vms: no connection .* Connection refused") as failed:
        await read(client)
    assert not failed.value.maybe_done


async def test_an_unknown_host_is_unreachable(client_for):
    client = await client_for("http://vergeos.invalid")
    with pytest.raises(VergeOSUnreachable, match=r"vergeos\.invalid"):
        await read(client)


@pytest.mark.parametrize("cut", ["reset", "end"])
async def test_a_read_is_repeated_after_a_dropped_connection(client_for, open_socket, cut):
    sock = await open_socket(in_turn(cut, cut, OK))
    assert await read(await client_for(sock.url)) == []
    assert len(sock.requests) == 3


@pytest.mark.parametrize("cut", ["reset", "end"])
async def test_a_read_gives_up_after_its_attempts(client_for, open_socket, cut):
    sock = await open_socket(in_turn(cut))
    with pytest.raises(VergeOSDropped, match="GET vms"):
        await read(await client_for(sock.url, attempts=2))
    assert len(sock.requests) == 2


@pytest.mark.parametrize("cut", ["reset", "end"])
async def test_a_step_sends_once_even_where_the_library_would_repeat(client_for, open_socket, cut):
    sock = await open_socket(in_turn(OK, cut, OK))
    client = await client_for(sock.url, attempts=1)
    await read(client)
    with pytest.raises(VergeOSDropped):
        await client.update("vms", 1, {"ram": 512})
    assert len(sock.requests) == 2


@pytest.mark.parametrize(
    ("fault", "error"), [("reset", VergeOSDropped), ("end", VergeOSDropped), (reply(503, b""), VergeOSBusy)]
)
async def test_an_act_is_never_repeated_and_may_have_happened(client_for, open_socket, fault, error):
    sock = await open_socket(in_turn(fault, OK))
    with pytest.raises(error, match="POST vm_actions") as failed:
        await act(await client_for(sock.url))
    assert failed.value.maybe_done
    assert len(sock.requests) == 1


async def test_an_act_that_gets_no_answer_is_a_timeout_and_not_repeated(client_for, open_socket):
    sock = await open_socket(in_turn("hang", OK))
    client = await client_for(sock.url)
    with pytest.raises(VergeOSTimeout, match="POST vm_actions") as failed:
        await act(client.patient(seconds=1.0))
    assert failed.value.maybe_done
    assert len(sock.requests) == 1


async def test_an_act_does_not_meet_a_kept_connection_that_is_just_being_closed(client_for, open_socket):
    async def once_per_connection(sock, reader, writer):
        await sock.take(reader)
        writer.write(OK)
        await sock.take(reader)  # a second request on the same connection finds it closing

    sock = await open_socket(once_per_connection)
    client = await client_for(sock.url)
    await read(client)
    await act(client)
    await act(client)
    assert sock.connections == 3


async def test_reads_share_one_connection(client_for, open_socket):
    sock = await open_socket(in_turn(OK))
    client = await client_for(sock.url)
    for _ in range(5):
        await read(client)
    assert sock.connections == 1


async def test_a_read_is_repeated_after_a_timeout(client_for, open_socket):
    sock = await open_socket(in_turn("hang", OK))
    assert await read((await client_for(sock.url)).patient(seconds=1.0)) == []


async def test_an_answer_that_drips_is_bound_by_the_same_time(client_for, open_socket):
    async def drip(sock, reader, writer):
        await sock.take(reader)
        writer.write(reply(200, b"[", length=10_000))
        while True:
            await asyncio.sleep(0.02)
            writer.write(b" ")
            await writer.drain()

    client = await client_for((await open_socket(drip)).url, attempts=1)
    with pytest.raises(VergeOSTimeout):
        await read(client.patient(seconds=0.3))


async def test_a_host_that_never_finishes_the_handshake_is_unreachable(client_for, open_socket):
    async def mute(sock, reader, writer):
        await asyncio.Event().wait()

    sock = await open_socket(mute)
    client = await client_for(sock.url.replace("http:", "https:"), attempts=1)
    with pytest.raises(VergeOSUnreachable, match="in time"):
        await read(client.patient(seconds=0.3))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_answer_is_repeated_for_a_read(client_for, open_socket, status):
    sock = await open_socket(in_turn(reply(status, b"<html>wait</html>"), OK))
    assert await read(await client_for(sock.url)) == []
    assert len(sock.requests) == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (reply(200, b"<html>Sign in</html>", "Content-Type: text/html"), "a page, not JSON"),
        (reply(200, b'[{"$key": 1'), "not wholly, JSON"),
        (reply(200, b'{"surprise": 1}'), "something else than a list"),
        (reply(200, b"[1, 2]"), "something else than a list"),
        (reply(302, b"", "Location: https://elsewhere.invalid/"), "another address"),
        (reply(404, b"<html>nginx</html>"), "a page, not JSON"),
        (reply(500, b'{"err": "disk on fire"}'), r"error of its own \(HTTP 500\): disk on fire"),
        (b"what is this\r\n\r\n", "not HTTP"),
        (reply(200, b"[" + b" " * 1_100_000 + b"]"), r"larger than 1 MB \(VERGEOS_MAX_ANSWER_MB\)"),
    ],
)
async def test_what_cannot_be_understood_is_a_bad_answer_and_tried_once(client_for, open_socket, fault, says):
    async def answer(sock, reader, writer):
        await sock.take(reader)
        writer.write(fault)
        await writer.drain()
        writer.close()

    sock = await open_socket(answer)
    client = await client_for(sock.url, vergeos_max_answer_mb=1)
    with pytest.raises(VergeOSBadAnswer, match=f"GET vms: .*{says}"):
        await read(client)
    assert len(sock.requests) == 1


async def test_an_answer_that_unpacks_to_more_than_the_limit_is_not_kept(client_for, upstream):
    def bomb(asked):
        response = web.Response(body=b"[" + b" " * 20_000_000 + b"]", content_type="application/json")
        response.enable_compression(web.ContentCoding.gzip)
        return response

    upstream.answer = bomb
    with pytest.raises(VergeOSBadAnswer, match="larger than 1 MB"):
        await read(await client_for(upstream.url, vergeos_max_answer_mb=1))


@pytest.mark.parametrize("cut", ["reset", "end"])
async def test_a_read_is_repeated_when_its_answer_was_cut_off(client_for, open_socket, cut):
    async def half(sock, reader, writer):
        await sock.take(reader)
        if sock.connections > 1:
            return writer.write(OK)
        writer.write(reply(200, b"[", length=2))
        await writer.drain()
        return reset(writer) if cut == "reset" else writer.close()

    sock = await open_socket(half)
    assert await read(await client_for(sock.url)) == []


async def test_an_act_whose_answer_was_cut_off_is_not_repeated(client_for, open_socket):
    async def half(sock, reader, writer):
        await sock.take(reader)
        writer.write(reply(200, b"{", length=2))
        writer.close()

    sock = await open_socket(half)
    with pytest.raises(VergeOSBadAnswer, match="POST vm_actions: the answer is cut off") as failed:
        await act(await client_for(sock.url))
    assert failed.value.maybe_done
    assert len(sock.requests) == 1


async def test_a_delete_whose_answer_was_lost_has_worked_when_the_row_is_gone(client_for, open_socket):
    sock = await open_socket(in_turn("reset", reply(404, b'{"err": "no row"}')))
    await (await client_for(sock.url)).delete("machine_snapshots", 3)
    assert len(sock.requests) == 2


async def test_a_delete_of_what_is_not_there_says_so(client_for, open_socket):
    sock = await open_socket(in_turn(reply(404, b'{"err": "no row"}')))
    with pytest.raises(VergeOSNotFound, match=r"DELETE machine_snapshots/3: .*no row"):
        await (await client_for(sock.url)).delete("machine_snapshots", 3)


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    """A certificate that an appliance made for itself: its file, a server's context, its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vergeos")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "vergeos.pem"
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


async def test_an_untrusted_certificate_names_its_fingerprint_and_both_settings(client_for, open_socket, self_signed):
    _, context, shown = self_signed
    sock = await open_socket(in_turn(OK), tls=context)
    with pytest.raises(VergeOSCertificate) as failed:
        await read(await client_for(sock.url))
    for part in ("GET vms", shown, "VERGEOS_CA_BUNDLE", "VERGEOS_VERIFY_SSL"):
        assert part in failed.value.detail
    assert failed.value.extra == {"fingerprint": shown}
    assert sock.requests == []


async def test_the_certificate_itself_may_be_the_ca_bundle(client_for, open_socket, self_signed):
    file, context, _ = self_signed
    sock = await open_socket(in_turn(OK), tls=context)
    assert await read(await client_for(sock.url, vergeos_ca_bundle=file)) == []


async def test_verification_can_be_switched_off(client_for, open_socket, self_signed):
    sock = await open_socket(in_turn(OK), tls=self_signed[1])
    assert await read(await client_for(sock.url, vergeos_verify_ssl=False)) == []


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_an_unreadable_ca_bundle_is_told_at_the_start(client_for, tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(VergeOSCertificate, match="VERGEOS_CA_BUNDLE"):
        await client_for("https://127.0.0.1:1", vergeos_ca_bundle=file)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("", "is not set"),
        ("ftp://verge", "not an http"),
        ("https://admin:secret@verge", "user or a password"),
        ("https://verge:port", "not an address"),
        ("https://verge/?x=1", "a query"),
    ],
)
async def test_an_unusable_address_is_told_at_the_start(client_for, host, says):
    with pytest.raises(VergeOSUnreachable, match=f"VERGEOS_HOST .*{says}") as failed:
        await client_for(host)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(("attempt", "least", "most"), [(1, 0.1, 0.2), (2, 0.2, 0.4), (3, 0.4, 0.8), (30, 2.0, 2.0)])
def test_the_pause_before_a_repetition_doubles_is_spread_and_has_an_end(attempt, least, most):
    pauses = {_backoff_seconds(attempt) for _ in range(200)}
    assert least <= min(pauses) <= max(pauses) <= most
    assert len(pauses) > 1 or least == most
