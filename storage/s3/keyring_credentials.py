"""Credentials from the operating system's keyring, for whoever wants them in no file and no variable.

``keyring set archiver-s3 default`` asks for them: ``<access key id>:<secret>``; in the place of ``default``
the profile of a store that names one. They are looked for when neither the environment nor the AWS files
have any.
"""

from __future__ import annotations

from botocore.credentials import CredentialProvider, Credentials

SERVICE = "archiver-s3"


class KeyringProvider(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """A link of botocore's chain of credential providers.

    Args:
        profile: The keyring's name for the entry.
    """

    METHOD = "keyring"

    def __init__(self, profile: str) -> None:
        super().__init__()
        self._profile = profile

    def load(self) -> Credentials | None:
        """Return the credentials, or None where there is no keyring, no entry, or one of another form."""
        # Here, as its backends take a while to load and most have their credentials elsewhere.
        try:
            import keyring  # noqa: PLC0415
            from keyring.errors import KeyringError  # noqa: PLC0415
        except ModuleNotFoundError:
            return None
        try:
            entry = keyring.get_password(SERVICE, self._profile)
        except KeyringError:
            return None
        access_key, _, secret = (entry or "").strip().partition(":")
        if not (access_key and secret):
            return None
        return Credentials(access_key, secret, method=self.METHOD)
