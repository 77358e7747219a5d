"""A session channel's requests (RFC 4254, 6) where asyncssh would refuse without a word, or take without a bound."""

from __future__ import annotations

from asyncssh.channel import SSHServerChannel
from asyncssh.packet import SSHPacket, String

MAX_ENVIRONMENT = 64
MAX_ENVIRONMENT_BYTES = 32_768


class RequestChannel(SSHServerChannel[bytes]):
    """Takes commands of any bytes, to say in words what is wrong with them, and a bounded environment.

    ``agent_asked``: the client would like its agent forwarded.
    """

    agent_asked = False

    def _process_pty_req_request(self, packet: SSHPacket) -> bool:
        # asyncssh ends the whole connection for a terminal's name that is no ASCII: such a terminal is an unknown one.
        term, rest = packet.get_string(), packet.get_remaining_payload()
        return super()._process_pty_req_request(SSHPacket(String(term if term.isascii() and b"\0" not in term else b"") + rest))

    def _process_exec_request(self, packet: SSHPacket) -> bool:
        command = packet.get_string()
        packet.check_end()
        return self._start_session(command=command.decode("utf-8", "surrogateescape"))

    def _process_auth_agent_req_at_openssh_dot_com_request(self, packet: SSHPacket) -> bool:  # type: ignore[override]
        # OpenSSH does not wait for an answer: of a refusal by this alone nobody would learn.
        self.agent_asked = True
        return False

    def _process_env_request(self, packet: SSHPacket) -> bool:
        size = len(packet.get_full_payload())
        known = sum(len(name) + len(value) for name, value in self._env.items())
        if len(self._env) >= MAX_ENVIRONMENT or known + size > MAX_ENVIRONMENT_BYTES:
            return False
        return super()._process_env_request(packet)
