"""``[audit]`` and ``[audit.s3]``: the trail, and where it is shipped."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from octopus.config.fields import BucketName, Duration, KeyPrefix, Positive, Region, Timeout
from octopus.config.files import Directory, File, PrivateFile, Secret
from octopus.config.section import NO_SECRET, Section
from octopus.config.urls import OptionalHttpUrl, SyslogUrl


class S3(Section):
    """``[audit.s3]``: where recordings and finished files of the trail are kept too; no ``bucket`` is off, no ``endpoint`` Amazon's."""

    bucket: BucketName = ""
    endpoint: OptionalHttpUrl = ""
    region: Region = "us-east-1"
    prefix: KeyPrefix = ""
    access_key: Secret = Field(alias="access_key_file", default=NO_SECRET)
    secret_key: Secret = Field(alias="secret_key_file", default=NO_SECRET)
    ca_file: File = ""
    path_style: bool = True
    """The bucket stands in the path, not in the host's name."""
    part_size: Annotated[int, Field(ge=5_242_880, le=1_073_741_824)] = 8_388_608
    """Bytes; larger files go in parts."""
    timeout: Timeout = 30.0


class Audit(Section):
    """``[audit]``: the trail and the recordings."""

    directory: Directory = "/var/lib/octopus/audit"
    signing_key_file: PrivateFile = ""
    """An Ed25519 key (PEM): checkpoints are signed with it."""
    checkpoint_lines: Positive = 1000
    checkpoint_interval: Timeout = 60.0
    rotate_size: Annotated[int, Field(ge=1_000_000)] = 64_000_000
    """Bytes of a file of the trail."""
    rotate_daily: bool = True
    write_timeout: Timeout = 20.0
    """How long the disk may take nothing before sessions end and new ones are refused."""
    retention: Duration = 400 * 86_400.0
    syslog: SyslogUrl = ""
    syslog_ca_file: File = ""
    syslog_cert_file: File = ""
    syslog_key_file: PrivateFile = ""
    syslog_timeout: Timeout = 10.0
    s3: S3 = S3()
