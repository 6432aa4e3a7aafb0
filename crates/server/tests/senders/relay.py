"""An SMTP relay for tests: aiosmtpd with TLS and a login. Writes its port, then each mail that it took as one JSON line.

relay.py tls|starttls|plain USER PASSWORD CERTIFICATE KEY
"""
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, user, password, certificate, key = sys.argv[1:]


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name: str(value) for name, value in mail.items()},
            "text": mail.get_content().replace("\r\n", "\n"),
            "tls": mode == "tls" or session.ssl is not None,
        }
        print(json.dumps(told), flush=True)
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    right = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=right, handled=False)


async def main():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    def session():
        return SMTP(
            Handler(),
            hostname="relay.example",
            authenticator=login,
            # Over TLS from the first byte, aiosmtpd does not know that the line is safe.
            auth_require_tls=mode != "tls",
            auth_required=True,
            require_starttls=mode == "starttls",
            tls_context=tls if mode == "starttls" else None,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "localhost", 0, ssl=tls if mode == "tls" else None)
    ports = {socket.getsockname()[1] for socket in server.sockets}
    if len(ports) > 1:
        # One port for both families: the client tries either.
        server.close()
        server = await loop.create_server(session, "127.0.0.1", 0, ssl=tls if mode == "tls" else None)
        ports = {socket.getsockname()[1] for socket in server.sockets}
    print(ports.pop(), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)


asyncio.run(main())
