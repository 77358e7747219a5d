"""OpenStack Swift with its S3 API, whole and in one process: ``python3 swift.py DIRECTORY PORT``, by Debian's python3-swift.

Prints a line once it serves. The account is ``test:tester``, its secret the environment's ``SWIFT_SECRET``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import eventlet
import eventlet.wsgi
from swift.common import utils, wsgi
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies

SERVERS = ("account", "container", "object")
FILTERS = ("catch_errors", "gatekeeper", "listing_formats", "s3api", "tempauth", "bulk", "slo", "dlo")


class Cache(dict[str, Any]):
    """Stands in for memcached."""

    def __bool__(self) -> bool:
        return True

    def set(self, key: str, value: object, **_: object) -> None:
        """Keep it, for ever."""
        self[key] = value

    def get(self, key: str, default: object = None, **_: object) -> Any:
        """Return it."""
        return super().get(key, default)

    def incr(self, key: str, delta: int = 1, **_: object) -> int:
        """Add to it."""
        self[key] = int(self.get(key, 0)) + delta
        return int(self[key])

    def delete(self, key: str, **_: object) -> None:
        """Forget it."""
        self.pop(key, None)


def configure(directory: Path, ports: dict[str, int]) -> None:
    """Write rings of one device, and a configuration for each server."""
    (directory / "devices" / "d0").mkdir(parents=True)
    (directory / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    common = f"[DEFAULT]\nswift_dir = {directory}\ndevices = {directory}/devices\nmount_check = false\nfallocate_reserve = 0\n"
    for name in SERVERS:
        ring = RingBuilder(4, 1, 0)
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": ports[name], "device": "d0"})
        ring.rebalance()
        ring.get_ring().save(str(directory / f"{name}.ring.gz"))
        # Objects are kept in memory: on a disk they need extended attributes, which not every one has.
        kind = "mem_object" if name == "object" else name
        (directory / f"{name}.conf").write_text(f"{common}[pipeline:main]\npipeline = app\n[app:app]\nuse = egg:swift#{kind}\n")
    options = {"tempauth": f"user_test_tester = {os.environ['SWIFT_SECRET']} .admin\n", "s3api": "location = us-east-1\n"}
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n{options.get(name, '')}" for name in FILTERS)
    pipeline = f"[pipeline:main]\npipeline = {' '.join(FILTERS)} proxy-server\n"
    proxy = "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
    (directory / "proxy.conf").write_text(common + pipeline + proxy + filters)


def main(directory: Path, port: int) -> None:
    """Serve for ever."""
    eventlet.patcher.monkey_patch(all=False, socket=True, select=True, thread=True, time=True)
    sockets = {name: eventlet.listen(("127.0.0.1", port if name == "proxy" else 0)) for name in (*SERVERS, "proxy")}
    configure(directory, {name: sock.getsockname()[1] for name, sock in sockets.items()})
    utils.SWIFT_CONF_FILE = str(directory / "swift.conf")
    utils.validate_hash_conf()
    reload_storage_policies()
    cache = Cache()
    served = []
    for name, sock in sockets.items():
        app = wsgi.loadapp(str(directory / f"{name}.conf"), global_conf={"log_name": name})
        handler = {"protocol": wsgi.SwiftHttpProtocol, "log_output": False}
        served.append(eventlet.spawn(eventlet.wsgi.server, sock, with_cache(app, cache) if name == "proxy" else app, **handler))
    print("serving", flush=True)
    for one in served:
        one.wait()


def with_cache(app: Callable[..., Iterable[bytes]], cache: Cache) -> Callable[..., Iterable[bytes]]:
    """Return the application with a cache at hand."""

    def cached(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ["swift.cache"] = cache
        return app(environ, start)

    return cached


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
