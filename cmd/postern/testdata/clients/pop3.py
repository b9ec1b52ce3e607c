"""Reads the inbox by poplib, with the first of the given passwords that lets
it in, all tried on one connection. For XOAUTH2 they are tokens.

usage: pop3.py METHOD SOURCE PORT IMPLICIT-TLS CA USER PASSWORD..."""

import base64
import functools
import os
import poplib
import socket
import ssl
import sys

# Each character is one octet, whatever it stands for.
arguments = [os.fsencode(a).decode("latin-1") for a in sys.argv[1:]]
method, source, port, implicit, ca, user, *secrets = arguments
socket.create_connection = functools.partial(socket.create_connection, source_address=(source, 0))
context = ssl.create_default_context(cafile=ca)
if implicit == "true":
    server = poplib.POP3_SSL("localhost", int(port), context=context)
else:
    server = poplib.POP3("localhost", int(port))
    server.stls(context=context)
server.encoding = "latin-1"


def response(secret):
    """What the client says first of all by SASL."""
    if method == "XOAUTH2":
        return f"user={user}\1auth=Bearer {secret}\1\1".encode("latin-1")
    return f"\0{user}\0{secret}".encode("latin-1")


for secret in secrets:
    try:
        if method == "LOGIN":
            server.user(user)
            server.pass_(secret)
        else:
            answer = server._shortcmd(f"AUTH {method} " + base64.b64encode(response(secret)).decode())
            if not answer.startswith(b"+OK"):  # XOAUTH2 takes one more round to fail
                server._shortcmd("")
        break
    except poplib.error_proto as refusal:
        print(refusal, flush=True)
else:
    sys.exit(1)

for number in range(1, server.stat()[0] + 1):
    sys.stdout.buffer.write(b"\r\n".join(server.retr(number)[1]) + b"\r\n")
server.quit()
