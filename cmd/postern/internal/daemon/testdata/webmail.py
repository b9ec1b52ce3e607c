"""Logs in like webmail that names its user's address: by imaplib with ID, or by
poplib with XCLIENT.

usage: webmail.py LISTENER SOURCE PORT CA USER PASSWORD CLIENT"""

import functools
import imaplib
import poplib
import socket
import ssl
import sys

listener, source, port, ca, user, password, client = sys.argv[1:]
socket.create_connection = functools.partial(socket.create_connection, source_address=(source, 0))
context = ssl.create_default_context(cafile=ca)


def imap():
    if listener == "imaps":
        server = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=context)
    else:
        server = imaplib.IMAP4("localhost", int(port))
        server.starttls(ssl_context=context)
    imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")
    print(server._simple_command("ID", f'("name" "webmail" "x-originating-ip" "{client}" "x-session-id" "s 1=2")'))
    server.login(user, password)
    print(server.select("INBOX", readonly=True))
    server.logout()


def pop3():
    if listener == "pop3s":
        server = poplib.POP3_SSL("localhost", int(port), context=context)
    else:
        server = poplib.POP3("localhost", int(port))
        server.stls(context=context)
    if b"[XCLIENT]" in server.getwelcome():
        print(server._shortcmd(f"XCLIENT ADDR={client} PORT=5555 SESSION=s=1 TTL=4"))
    server.user(user)
    server.pass_(password)
    print(server.stat())
    server.quit()


imap() if listener.startswith("imap") else pop3()
