"""What the control plane writes on the audit trail about people and their sessions. Pure."""

from __future__ import annotations

from typing import Any

from octopus.control.audit_lines import OpenSession
from octopus.control.plane import AdmitCall, AuthAttempt, may_choose
from octopus.core.errors import AmbiguousTarget, AuthenticationFailed, OctopusError, Refused, printable
from octopus.core.types import Allow, AuditEvent, Identity, RequestKind, SessionRequest, Target, terminal_key

MAX_TYPED = 512
"""Characters kept of what a person typed as a login or a name."""


def auth_accepted(attempt: AuthAttempt, identity: Identity, key: str) -> AuditEvent:
    """Return the event of a person who is known now."""
    return AuditEvent(
        event="auth.accepted",
        key=f"auth/{key}",
        login=identity.login,
        client=attempt.connection.client,
        data=_attempt(attempt) | {"groups": sorted(identity.groups)},
    )


def auth_refused(attempt: AuthAttempt, error: AuthenticationFailed, key: str) -> AuditEvent:
    """Return the event of an attempt that proved nobody; the reason is for the operator."""
    return AuditEvent(
        event="auth.refused",
        key=f"auth/{key}",
        login=attempt.login[:MAX_TYPED],
        client=attempt.connection.client,
        data=_attempt(attempt) | {"reason": printable(str(error))},
    )


def begun(call: AdmitCall, target: Target, allow: Allow) -> tuple[AuditEvent, ...]:
    """Return ``session.requested`` and, for a command that runs in the container, ``exec``.

    The worker stands in the first: whoever comes later can tell whether the session still has one.
    """
    asked = _asked(call)
    data: dict[str, Any] = {"rule": allow.rule, "worker": call.connection.worker, "run_as": allow.spec.user}
    requested = _of_session("session.requested", f"{call.session}/requested", call, target, asked | data)
    if call.request.kind is not RequestKind.EXEC:
        return (requested,)
    return requested, _of_session("exec", f"{call.session}/exec", call, target, {"command": call.request.command})


def not_begun(call: AdmitCall, target: Target | None, error: BaseException) -> AuditEvent:
    """Return the terminal event of a session that does not begin: ``session.denied`` for a refusal, else ``session.failed``."""
    command = {"command": call.request.command} if call.request.kind is RequestKind.EXEC else {}
    reason = printable(str(error)) if isinstance(error, OctopusError) else "internal error"
    if isinstance(error, AmbiguousTarget) and may_choose(call.request):
        reason += ": a list to choose from was shown"
    data = _asked(call) | command | {"reason": reason, "error": type(error).__name__}
    name = "session.denied" if isinstance(error, Refused) else "session.failed"
    return _of_session(name, terminal_key(call.session), call, target, data)


def lost(session: OpenSession, reason: str, recordings: list[dict[str, Any]]) -> AuditEvent:
    """Return the terminal event of a session whose worker cannot write it any more."""
    return AuditEvent(
        event="session.failed",
        key=terminal_key(session.session),
        session=session.session,
        login=session.login,
        client=session.client,
        target=session.target,
        data={"reason": reason, "worker": session.worker, "recordings": recordings},
    )


def target_fields(target: Target | None) -> dict[str, str]:
    """Return a target as the trail names it."""
    if target is None:
        return {}
    return {"app": target.app, "task": target.task, "agent": target.agent, "container": target.clue.engine_id}


def _of_session(event: str, key: str, call: AdmitCall, target: Target | None, data: dict[str, Any]) -> AuditEvent:
    return AuditEvent(
        event=event,
        key=key,
        session=call.session,
        login=call.identity.login,
        client=call.connection.client,
        target=target_fields(target),
        data=data,
    )


def _asked(call: AdmitCall) -> dict[str, Any]:
    return {"name": call.name[:MAX_TYPED], "connection": call.connection.id, **_request(call.request)}


def _request(request: SessionRequest) -> dict[str, Any]:
    # What scp and logs ask for is no command to run: it is served here.
    asked = {"command": request.command} if request.kind in (RequestKind.SCP, RequestKind.LOGS) else {}
    return {"kind": RequestKind(request.kind).value, "pty": request.pty is not None} | asked


def _attempt(attempt: AuthAttempt) -> dict[str, Any]:
    kept = {"fingerprint": attempt.fingerprint, "client_version": printable(attempt.connection.client_version)}
    return {"method": attempt.method, "connection": attempt.connection.id} | {name: value for name, value in kept.items() if value}
