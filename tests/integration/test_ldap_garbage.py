"""LDAP servers that break the protocol, or use it against us: no hang, no flood, no foreign error, nothing let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.identity.ldap import LdapDirectory
from octopus.identity.ldap_wire import LdapServer
from tests.parts.tcp import Handler, goes_on, listen, silence

SERVICE_PASSWORD = "service-secret"


def element(tag: int, *parts: bytes) -> bytes:
    """Encode one BER element of under 128 bytes."""
    content = b"".join(parts)
    return bytes([tag, len(content)]) + content


def result(operation: int, code: int) -> bytes:
    """Encode an operation that is an LDAPResult (RFC 4511 4.1.9)."""
    return element(operation, b"\x0a\x01" + bytes([code]) + b"\x04\x00\x04\x00")


def entry(dn: bytes, *attributes: tuple[bytes, bytes]) -> bytes:
    """Encode a SearchResultEntry."""
    encoded = [element(0x30, element(0x04, name), element(0x31, element(0x04, value))) for name, value in attributes]
    return element(0x64, element(0x04, dn), element(0x30, *encoded))


BIND_OK = result(0x61, 0)
SEARCH_DONE = result(0x65, 0)
ALICE = entry(b"uid=alice", (b"uid", b"alice"))


@dataclass(frozen=True)
class Reply:
    """Operations to send as LDAPMessages in answer to a request, under its id unless another is given; ``cut`` bytes short."""

    operations: tuple[bytes, ...]
    number: bytes = b""
    cut: int = 0

    def to(self, request: bytes) -> bytes:
        """Return the messages for that request."""
        body = request[2 + (request[1] & 0x7F if request[1] & 0x80 else 0) :]
        number = self.number or body[: 2 + body[1]]
        messages = b"".join(element(0x30, number, operation) for operation in self.operations)
        return messages[: len(messages) - self.cut]


def reply(*operations: bytes, number: bytes = b"", cut: int = 0) -> Reply:
    """Make a reply."""
    return Reply(operations, number, cut)


def serves(*answers: bytes | Reply) -> Handler:
    """Answer each request with the next bytes or reply, then hang up."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            request = await reader.read(4096)
            writer.write(answer.to(request) if isinstance(answer, Reply) else answer)
            await writer.drain()

    return handler


@asynccontextmanager
async def directory_at(handler: Handler, *, start_tls: bool = False, seconds: float = 2.0) -> AsyncIterator[LdapDirectory]:
    """Give a directory whose one server behaves so."""
    async with listen(handler) as server:
        directory = LdapDirectory(
            servers=[server.url("ldap")],
            start_tls=start_tls,
            bind_dn="cn=octopus",
            bind_password=SERVICE_PASSWORD,
            user_base="ou=people",
            user_filter="(uid={login})",
            timeout=seconds,
        )
        yield directory
        await directory.aclose()


@pytest.mark.parametrize(
    "answers",
    [
        (b"",),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",),
        (b"SSH-2.0-OpenSSH_9.2\r\n",),
        (b"\x00" * 64,),
        (b"\xff" * 64,),
        (b"\x30\x80" + b"\x00" * 16,),
        (b"\x30\x00\x30\x00",),
        (b"\x30\x03\x02\x01\x01",),
        (reply(BIND_OK, cut=3),),
        (reply(BIND_OK, number=b"\x02\x01\x63"),),
        (reply(result(0x78, 52), number=b"\x02\x01\x00"),),
        (reply(SEARCH_DONE),),
        (reply(element(0x64, b"\x04\x00\x30\x00")),),
        (reply(element(0x61, b"\x0a\x01")),),
        (reply(result(0x61, 14)),),
        (reply(result(0x61, 10)),),
        (reply(result(0x61, 49)),),
        (reply(result(0x61, 52)),),
        (reply(result(0x61, 200)),),
        (reply(BIND_OK), b""),
        (reply(BIND_OK), b"\x30\x05garba"),
        (reply(BIND_OK), reply(ALICE)),
        (reply(BIND_OK), reply(ALICE, SEARCH_DONE, cut=1)),
        (reply(BIND_OK), reply(entry(b"\xff\xfe", (b"uid", b"alice")), SEARCH_DONE)),
        (reply(BIND_OK), reply(result(0x65, 1))),
        (reply(BIND_OK), reply(result(0x65, 32))),
        (reply(BIND_OK), reply(element(0x64, b"\x04\x01\xff\x30"), SEARCH_DONE)),
        (reply(BIND_OK), reply(BIND_OK)),
    ],
)
async def test_an_answer_that_is_none_makes_the_directory_unavailable(answers: tuple[bytes | Reply, ...]) -> None:
    """Garbage, halves, other protocols, wrong numbers and wrong kinds of messages are all one error of ours."""
    async with directory_at(serves(*answers)) as directory:
        with pytest.raises(DirectoryUnavailable) as failure:
            await directory.check_password("alice", "alice-secret")
    assert "alice-secret" not in str(failure.value)
    assert SERVICE_PASSWORD not in str(failure.value)


@pytest.mark.parametrize(
    "found",
    [
        (SEARCH_DONE,),
        (entry(b"uid=bob", (b"uid", b"bob")), SEARCH_DONE),
        (entry(b"uid=alice"), SEARCH_DONE),
        (entry(b"", (b"uid", b"alice")), SEARCH_DONE),
        (ALICE, ALICE, SEARCH_DONE),
        (ALICE, result(0x65, 4)),
        (entry(b"uid=alice", (b"uid", b"alice"), (b"loginDisabled", b"TRUE")), SEARCH_DONE),
        (entry(b"uid=alice", (b"uid", b"alice"), (b"userAccountControl", b"514")), SEARCH_DONE),
        (entry(b"uid=alice", (b"uid", b"alice"), (b"nsAccountLock;x-tag", b"true")), SEARCH_DONE),
        (entry(b"uid=alice", (b"uid", b"alice\n")), SEARCH_DONE),
        (element(0x73, element(0x04, b"ldap://127.0.0.1:1/uid=alice")), SEARCH_DONE),
    ],
)
async def test_an_entry_that_is_not_exactly_the_person_is_nobody(found: tuple[bytes, ...]) -> None:
    """None, another, several, cut short, without login or DN, switched off, or referred elsewhere."""
    async with directory_at(serves(reply(BIND_OK), reply(*found))) as directory:
        with pytest.raises(AuthenticationFailed):
            await directory.look_up("alice", "publickey")
        with pytest.raises(AuthenticationFailed):
            await directory.check_password("alice", "alice-secret")


async def test_a_referral_of_the_whole_search_is_not_followed() -> None:
    """Nobody is found elsewhere, and nothing is sent there."""
    async with listen(silence) as elsewhere:
        referral = element(0xA3, element(0x04, elsewhere.url("ldap").encode()))
        referred = element(0x65, b"\x0a\x01\x0a\x04\x00\x04\x00", referral)
        async with directory_at(serves(reply(BIND_OK), reply(referred))) as directory:
            with pytest.raises(DirectoryUnavailable, match="referral"):
                await directory.look_up("alice", "publickey")
        assert elsewhere.connections == 0


async def test_the_same_server_with_one_sound_entry_is_believed() -> None:
    """The messages of this file are good ones where they should be."""
    async with directory_at(serves(reply(BIND_OK), reply(ALICE, SEARCH_DONE))) as directory:
        assert (await directory.look_up("Alice", "publickey")).login == "alice"
        assert (await directory.check_password("Alice", "alice-secret")).login == "alice"


@pytest.mark.parametrize("head", [b"\x30\x84\x7f\xff\xff\xff", b"", b"\x30\x82\xff\xff\x02\x01\x01\x61"])
async def test_a_server_that_drips_is_cut_off_at_the_deadline(head: bytes) -> None:
    """Each byte comes in time, the answer never: the thread is free again, for there is only one."""
    async with listen(goes_on(head, b"\x00")) as server, listen(serves(reply(BIND_OK), reply(ALICE, SEARCH_DONE))) as sound:
        directory = LdapDirectory(
            servers=[server.url("ldap"), sound.url("ldap")],
            bind_dn="cn=octopus",
            bind_password=SERVICE_PASSWORD,
            user_base="ou=people",
            user_filter="(uid={login})",
            timeout=1.0,
            threads=1,
        )
        assert (await directory.look_up("alice", "publickey")).login == "alice"
        await directory.aclose()


async def test_an_answer_without_end_is_cut_off_at_its_size() -> None:
    """A server that says 2 GiB follow, and sends them, is left after the limit, long before its time is up."""
    async with listen(goes_on(b"\x30\x84\x7f\xff\xff\xff", b"\x00" * 1000)) as server:
        one = LdapServer(server.url("ldap"), bind_dn="cn=octopus", bind_password=SERVICE_PASSWORD, max_answer=100_000)

        def ask() -> None:
            with one.session(timeout=60):
                pass

        with pytest.raises(DirectoryUnavailable, match="exceeds 100000 bytes"):
            await asyncio.to_thread(ask)


@pytest.mark.parametrize("answer", [reply(result(0x78, 2)), reply(result(0x78, 0)), reply(result(0x78, 0), BIND_OK)])
async def test_start_tls_that_fails_is_the_end_and_no_password_is_sent(answer: Reply) -> None:
    """A server, or somebody in between, that refuses TLS or has something to say before it gets nothing in clear."""
    heard = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4096))
        writer.write(answer.to(bytes(heard)))
        while data := await reader.read(4096):
            heard.extend(data)

    async with directory_at(handler, start_tls=True, seconds=0.5) as directory:
        with pytest.raises(DirectoryUnavailable):
            await directory.check_password("alice", "alice-secret")
    assert SERVICE_PASSWORD.encode() not in heard
    assert b"1.3.6.1.4.1.1466.20037" in heard


async def test_too_many_logins_for_a_server_that_hangs_are_turned_away() -> None:
    """The queue has an end, and everybody in it an answer."""
    async with listen(silence) as hung:
        directory = LdapDirectory(
            servers=[hung.url("ldap")], user_base="ou=people", user_filter="(uid={login})", timeout=0.3, threads=1, max_waiting=3
        )
        asked = [asyncio.ensure_future(directory.look_up("alice", "publickey")) for _ in range(10)]
        await asyncio.wait(asked)
        assert {type(answer.exception()) for answer in asked} == {DirectoryUnavailable}
        assert sum("waiting for the directory" in str(answer.exception()) for answer in asked) == 7
        await directory.aclose()
