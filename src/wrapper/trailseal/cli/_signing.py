"""`trailseal keys generate`, `fingerprint`, `register`: the keys that sign events."""

import base64
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import _output
from ._exits import BAD_INPUT, Mistake, say
from ._session import LogId, Session, command

if TYPE_CHECKING:
    from trailseal import Ed25519Signer

PASSWORD = "TRAILSEAL_SIGNING_KEY_PASSWORD"  # noqa: S105  # the variable's name

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="A private key: PEM or OpenSSH.")]
KeyName = Annotated[
    str | None,
    typer.Option("--key-id", metavar="ID", help="The key's name; else made of the public key."),
]


def register(keys: typer.Typer) -> None:
    """Add the commands to `trailseal keys`."""
    keys.command("generate")(generate)
    keys.command("fingerprint")(fingerprint)
    command(keys, "register")(register_key)


def generate(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, mode 0600.")],
    key_id: KeyName = None,
    encrypt: Annotated[
        bool,
        typer.Option("--encrypt", help=f"With a password: {PASSWORD}, else it is asked for."),
    ] = False,
) -> None:
    """Make a key that signs events, and print its public side.

    \b
      trailseal keys generate billing.pem --key-id billing-2026
      export TRAILSEAL_SIGNING_KEY_FILE=billing.pem
    """
    from trailseal import Ed25519Signer  # noqa: PLC0415  # loads cryptography

    password = _password(new=True) if encrypt else None
    signer = Ed25519Signer.generate(key_id=key_id)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # never over another
    with os.fdopen(handle, "wb") as file:
        file.write(signer.to_pem(password))
    _show(signer)


def fingerprint(path: KeyFile, key_id: KeyName = None) -> None:
    """Print the public side of a private key.

    That is its id, its public key, and its fingerprint as ssh-keygen -l shows it.
    """
    _show(_read(path, key_id))


def register_key(
    session: Session,
    *,
    path: KeyFile,
    key_id: KeyName = None,
    owner: Annotated[str | None, typer.Option(metavar="TEXT", help="Whose key it is.")] = None,
    log_id: LogId = None,
) -> None:
    """Register a key's public side with a log. Scope: admin.

    From then on the log takes signatures of that name by this key only. The private key stays here.
    """
    signer = _read(path, key_id)
    with session.client() as client:
        session.record(client.register_key(signer, owner=owner, log_id=log_id).raw)


def _read(path: Path, key_id: str | None) -> "Ed25519Signer":
    from trailseal import Ed25519Signer  # noqa: PLC0415  # loads cryptography
    from trailseal.errors import ConfigurationError  # noqa: PLC0415

    try:
        return Ed25519Signer.from_file(path, password=_password, key_id=key_id)
    except ConfigurationError as error:
        raise Mistake(f"{path}: {error.args[0]}", BAD_INPUT) from None


def _password(*, new: bool = False) -> str:
    if password := os.environ.get(PASSWORD):
        return password
    if not sys.stdin.isatty():
        raise Mistake(f"nobody to ask for the password: set {PASSWORD}.")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=new, err=True)
    return asked


def _show(signer: "Ed25519Signer") -> None:
    public = base64.b64encode(signer.raw_public_key).decode()
    shown = {"key_id": signer.key_id, "public_key": public, "fingerprint": signer.fingerprint}
    _output.record(_output.TABLE if sys.stdout.isatty() else _output.JSONL, shown)
    if sys.stdout.isatty():
        say("Register it with a log: trailseal keys register FILE --log-id LOG")
