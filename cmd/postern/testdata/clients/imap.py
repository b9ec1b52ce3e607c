"""Reads the inbox by imaplib, with the first of the given passwords that lets
it in, all tried on one connection. For XOAUTH2 they are tokens.

usage: imap.py METHOD SOURCE PORT IMPLICIT-TLS CA USER PASSWORD..."""

import functools
import imaplib
import os
import socket
import ssl
import sys

# Each character is one octet, whatever it stands for.
arguments = [os.fsencode(a).decode("latin-1") for a in sys.argv[1:]]
method, source, port, implicit, ca, user, *secrets = arguments
socket.create_connection = functools.partial(socket.create_connection, source_address=(source, 0))
context = ssl.create_default_context(cafile=ca)
if implicit == "true":
    server = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=context)
else:
    server = imaplib.IMAP4("localhost", int(port))
    server.starttls(ssl_context=context)
server._encoding = "latin-1"


def response(secret):
    """What the client says first of all by SASL."""
    if method == "XOAUTH2":
        return f"user={user}\1auth=Bearer {secret}\1\1".encode("latin-1")
    return f"\0{user}\0{secret}".encode("latin-1")


for secret in secrets:
    try:
        if method == "LOGIN":
            server.login(user, secret)
        else:
            server.authenticate(method, lambda challenge: response(secret) if not challenge else b"")
        break
    except server.error as refusal:
        print(refusal, flush=True)
else:
    sys.exit(1)

server.select("INBOX", readonly=True)
for part in server.fetch("1:*", "(BODY.PEEK[])")[1]:
    if isinstance(part, tuple):
        sys.stdout.buffer.write(part[1])
server.logout()
