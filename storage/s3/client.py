"""One S3 client, set up from the environment and the AWS files like every AWS tool's, or a keyring."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from storage.errors import StoreRefused
from storage.s3.keyring_credentials import KeyringProvider

DEFAULT_REGION = "us-east-1"
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_MAX_CONNECTIONS = 32
_MAX_RETRIES = 3


def connect(profile: str = "") -> Any:
    """Return a boto3 S3 client by the usual AWS variables and profiles, or the keyring. Contacts nobody.

    Args:
        profile: An AWS profile, whose endpoint, region and credentials then come before the variables;
            empty for what the variables say.

    Raises:
        StoreRefused: A profile that is not there, an endpoint that is no URL.
    """
    config = Config(
        signature_version="s3v4",
        # Every put has its SHA-256 in a signed header, which is compared or read back afterwards. Signing the
        # body as well would hash it once more over plain http; over https no client does.
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_supported",
        response_checksum_validation="when_supported",
        retries={"max_attempts": _MAX_RETRIES, "mode": "standard"},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=_MAX_CONNECTIONS,
    )
    try:
        session = boto3.session.Session(profile_name=profile or None)
        core = session._session  # noqa: SLF001  # boto3 has no way of its own to add a provider
        core.get_component("credential_provider").insert_before(
            "container-role", KeyringProvider(session.profile_name)
        )
        own = core.get_scoped_config() if profile else {}
        return session.client(
            "s3",
            region_name=own.get("region") or session.region_name or DEFAULT_REGION,
            endpoint_url=own.get("endpoint_url"),
            config=config,
        )
    except (BotoCoreError, ValueError) as exc:
        # The exception's own text may quote an endpoint with a password in it.
        raise StoreRefused(
            f"store s3: AWS settings unusable: expected a profile and an endpoint URL that exist, "
            f"got {type(exc).__name__}",
            code="E625",
            hint="check AWS_PROFILE, AWS_ENDPOINT_URL and the files in ~/.aws",
        ) from None
