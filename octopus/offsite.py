"""What the configuration ships off this machine, how far it went, and whether the other side answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from octopus.config.audit_section import S3, Audit
from octopus.config.sections import Config
from octopus.fleet.figures import Family, labelled
from octopus.shipping.evidence import EvidenceShipper
from octopus.shipping.lines import LineShipper
from octopus.shipping.position_file import FOLDER, StateFile
from octopus.shipping.shipment import Shipment
from octopus.shipping.syslog import Collector, trust
from octopus.shipping.trail_reader import TrailReader

if TYPE_CHECKING:
    from octopus.shipping.object_store import ObjectStore

SYSLOG, STORE = "syslog", "s3"


def shipments(config: Config, durable: Callable[[], int]) -> list[Shipment]:
    """Return what is to run beside the gateway; ``durable`` tells the last line that is certain to stay. Raise ConfigError."""
    audit = config.audit
    directory = Path(audit.directory)
    reader = TrailReader(directory, durable)
    found = []
    if audit.syslog:
        found.append(Shipment(SYSLOG, LineShipper(reader, collector(audit), _state(directory, SYSLOG))))
    if audit.s3.bucket:
        shipper = EvidenceShipper(directory, reader, object_store(audit.s3, directory), _state(directory, STORE), prefix=audit.s3.prefix)
        found.append(Shipment(STORE, shipper))
    return found


def figures(shipments: Sequence[Shipment]) -> Iterator[Family]:
    """Yield how much of the trail still has to be shipped, and whether that works."""
    waiting: dict[str, float] = {}
    for one in shipments:
        with suppress(OSError):
            waiting[one.name] = one.waiting()
    yield labelled("shipping_waiting_bytes", "to", waiting, "bytes of the audit trail that still have to be shipped")
    yield labelled("shipping_failing", "to", {one.name: bool(one.problem) for one in shipments}, "1 while shipping the audit trail fails")


def collector(audit: Audit) -> Collector:
    """Return the collector of ``[audit] syslog``, not connected yet. Raise ConfigError."""
    tls = audit.syslog.startswith("tls://")
    return Collector(
        audit.syslog,
        host=socket.gethostname(),
        process=os.getpid(),
        context=trust(audit.syslog_ca_file, audit.syslog_cert_file, audit.syslog_key_file) if tls else None,
        timeout=audit.syslog_timeout,
    )


def object_store(s3: S3, directory: Path) -> ObjectStore:
    """Return the store of ``[audit.s3]``."""
    # Here and not at the top: it takes longer to import than all else, and most do without.
    from octopus.shipping.object_store import ObjectStore

    return ObjectStore(
        _state(directory, "s3-upload"),
        bucket=s3.bucket,
        access_key=s3.access_key.get_secret_value(),
        secret_key=s3.secret_key.get_secret_value(),
        endpoint=s3.endpoint,
        region=s3.region,
        ca_file=s3.ca_file,
        path_style=s3.path_style,
        part_size=s3.part_size,
        timeout=s3.timeout,
    )


def waits_for(audit: Audit, first: int) -> list[str]:
    """Return where the finished file with that first line still has to be shipped to. Raise OSError."""
    wanted = [name for name, on in ((SYSLOG, audit.syslog), (STORE, audit.s3.bucket)) if on]
    return [name for name in wanted if _state(Path(audit.directory), name).shipped().position.first <= first]


def probe(audit: Audit) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Yield what each way is called, where it leads, and a call that raises ShippingUnavailable or ConfigError when it leads nowhere."""
    if audit.syslog:
        yield SYSLOG, audit.syslog, lambda: _connect(audit)
    if audit.s3.bucket:
        yield STORE, f"{audit.s3.endpoint or 's3:'}/{audit.s3.bucket}", lambda: _ask(audit)


def _connect(audit: Audit) -> None:
    one = collector(audit)
    one.connect()
    one.drop()


def _ask(audit: Audit) -> None:
    store = object_store(audit.s3, Path(audit.directory))
    try:
        store.probe()
    finally:
        store.close()


def _state(directory: Path, name: str) -> StateFile:
    return StateFile(directory / FOLDER / f"{name}.json")
