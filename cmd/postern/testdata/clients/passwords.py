"""Logs in with each of the accounts that standard input lists, a JSON array of
{"Name": ..., "Secret": base64}, on a connection of its own, by imaplib or poplib.

usage: passwords.py imap|pop3 METHOD PORT IMPLICIT-TLS CA"""

import base64
import imaplib
import json
import poplib
import ssl
import sys

protocol, method, port, implicit, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)


def imap(user, secret):
    if implicit == "true":
        server = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=context)
    else:
        server = imaplib.IMAP4("localhost", int(port))
        server.starttls(ssl_context=context)
    server._encoding = "latin-1"
    if method == "LOGIN":
        server.login(user, secret)
    else:
        server.authenticate(method, lambda challenge: plain(user, secret))
    server.logout()


def pop3(user, secret):
    if implicit == "true":
        server = poplib.POP3_SSL("localhost", int(port), context=context)
    else:
        server = poplib.POP3("localhost", int(port))
        server.stls(context=context)
    server.encoding = "latin-1"
    if method == "LOGIN":
        server.user(user)
        server.pass_(secret)
    else:
        server._shortcmd(f"AUTH {method} " + base64.b64encode(plain(user, secret)).decode())
    server.quit()


def plain(user, secret):
    return f"\0{user}\0{secret}".encode("latin-1")


for account in json.load(sys.stdin):
    # Each character is one octet, whatever it stands for.
    user = account["Name"]
    secret = base64.b64decode(account["Secret"]).decode("latin-1")
    try:
        {"imap": imap, "pop3": pop3}[protocol](user, secret)
    except (imaplib.IMAP4.error, poplib.error_proto) as refusal:
        print(user, refusal, flush=True)
