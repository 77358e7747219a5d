"""Asks an agent which container runs an executor, for masters that do not say (before Mesos 1.2)."""

from __future__ import annotations

from octopus.core.agent_state import container_of
from octopus.core.errors import ContainerUnavailable, OctopusError
from octopus.core.inventory import Agent
from octopus.feeds.http import Http, in_time


class AgentStates:
    """Reads agents' own states. ``timeout`` in seconds, ``max_body`` in bytes. Agents get no credentials: they are not the masters'."""

    def __init__(self, http: Http, *, timeout: float = 10.0, max_body: int = 64 * 1024 * 1024) -> None:
        self._http = http
        self._timeout = timeout
        self._max_body = max_body

    async def container_id(self, agent: Agent, framework: str, executor: str) -> str:
        """Return the Mesos container id of an executor. Raise ContainerUnavailable when the agent does not tell."""
        if not agent.ip:
            raise ContainerUnavailable(f"agent {agent.id} has no address")
        host = f"[{agent.ip}]" if ":" in agent.ip else agent.ip
        paths = [f"/{prefix}/state{suffix}" if prefix else f"/state{suffix}" for suffix in (".json", "") for prefix in (agent.prefix, "")]
        try:
            async with in_time(self._timeout, f"agent {agent.hostname}"):
                for path in dict.fromkeys(paths):
                    url = f"http://{host}:{agent.port}{path}"
                    status, body = await self._http.get(url, trusted=False, limit=self._max_body)
                    if status == 401:
                        raise ContainerUnavailable(f"agent {agent.hostname}: HTTP 401")
                    if status == 200 and (container := container_of(body, framework, executor, url)):
                        return container
        except OctopusError as error:
            raise ContainerUnavailable(f"agent {agent.hostname}: {error}") from error
        raise ContainerUnavailable(f"agent {agent.hostname} knows no container of executor {executor}")
