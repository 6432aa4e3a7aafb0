"""localstripe on loopback only, and without its pickle of everything in /tmp: that would hold card numbers.

Its confirmation takes no payment method and no options. What it lacks is added here: the method is attached first,
and the MOTO flag is demanded.
"""

import asyncio
import sys

from aiohttp import web
from localstripe import resources
from localstripe.errors import UserError

resources.store.try_load_from_disk = lambda: None
type(resources.store).dump_to_disk = lambda self: None


def confirm(id, payment_method=None, payment_method_options=None, **kwargs):
    intent = resources.PaymentIntent._api_retrieve(id)
    if payment_method_options != {"card": {"moto": "true"}}:
        raise UserError(400, "payment_method_options[card][moto] must be true")
    intent.payment_method = payment_method
    return resources.PaymentIntent._api_confirm(id, **kwargs)


for place, (method, path, handler) in enumerate(resources.extra_apis):
    if path == "/v1/payment_intents/{id}/confirm":
        resources.extra_apis[place] = (method, path, confirm)

# Only now: it makes its routes when it is imported.
from localstripe import server  # noqa: E402


async def serve(port: int) -> None:
    runner = web.AppRunner(server.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


asyncio.run(serve(int(sys.argv[1])))
