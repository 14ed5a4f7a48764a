"""FastAPI: who deleted which invoice, from where, in which request.

export TRAILSEAL_URL=… TRAILSEAL_API_KEY=… TRAILSEAL_SPOOL_DIR=/var/tmp/audit
python examples/fastapi_app.py 8000
curl -X DELETE -H 'Authorization: Bearer token-of-ada' http://127.0.0.1:8000/invoices/17
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import trailseal
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from trailseal.integrations.asgi import AuditMiddleware, identify

TOKENS = {"Bearer token-of-ada": "ada"}

audit = trailseal.Audit(trailseal.Client.from_env())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Deliver what waits before the process ends."""
    yield
    await asyncio.to_thread(audit.close)


app = FastAPI(lifespan=lifespan)
app.add_middleware(AuditMiddleware, trusted_proxies=["127.0.0.0/8"])


async def current_user(authorization: Annotated[str, Header()] = "") -> str:
    """The user of a request; from here on its events carry them."""
    if authorization not in TOKENS:
        audit.log("access.denied", outcome="failure")
        raise HTTPException(401)
    user = TOKENS[authorization]
    identify({"id": user, "type": "user"})
    return user


@app.delete("/invoices/{number}", dependencies=[Depends(current_user)])
def delete_invoice(number: str) -> dict[str, str]:
    """Runs in a thread of FastAPI's pool; the request's context goes with it."""
    receipt = audit.log("invoice.deleted", resource=("invoice", number))
    return {"event": receipt.event_id}


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        port = listener.getsockname()[1]
        print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201  # where it is
        # The middleware reads X-Forwarded-For: uvicorn must not have done it already.
        config = uvicorn.Config(app, proxy_headers=False, log_level="warning")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
