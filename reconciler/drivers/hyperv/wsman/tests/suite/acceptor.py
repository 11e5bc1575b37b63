"""A service of WS-Management by hands that are not ours: python3-gssapi over gss-ntlmssp takes the login and the seals.

It says its port, then answers each sealed request with what was in it, backwards. The user is in the file that
NTLM_USER_FILE names (`DOMAIN:USER:PASSWORD`), or has a ticket for a service in the keytab that KRB5_KTNAME names.

  --tabs            writes the headers of sealed parts as Windows does
  --tls PEM [HASH]  speaks TLS with the certificate and key in that file, and lets nobody in whose login is not bound to
                    its certificate (or to another one, whose SHA-256 that is)
  --kerberos        takes tickets instead of NTLM, and seals by MIT's GSS-API: by itself unturned,
  --iov             or turned as Windows does it
"""

import base64
import hashlib
import http.server
import re
import ssl
import sys

import gssapi

SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
NTLM = gssapi.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
KRB5 = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")
KERBEROS = "--kerberos" in sys.argv
IOV = "--iov" in sys.argv
KIND = 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"'
TAB = b"\t" if "--tabs" in sys.argv else b""
TLS = sys.argv[sys.argv.index("--tls") + 1 :] if "--tls" in sys.argv else []


def binding():
    if not TLS:
        return None
    with open(TLS[0]) as pem:
        certificate = pem.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    demanded = bytes.fromhex((TLS[1:] or [shown])[0])
    return gssapi.raw.ChannelBindings(application_data=b"tls-server-end-point:" + demanded)


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    context = None

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        login = self.headers.get("Authorization")
        if login:
            self.log_in(base64.b64decode(login.split(" ", 1)[1]))
        elif self.context is None or not self.context.complete:
            self.answer(401, [("WWW-Authenticate", "Negotiate")])
        else:
            self.sealed(body) if not TLS else self.answer(200, body=body[::-1])

    def log_in(self, token):
        complete = False
        try:
            if self.context is None or self.context.complete:
                creds = gssapi.Credentials(usage="accept", mechs=[SPNEGO, KRB5 if KERBEROS else NTLM])
                self.context = gssapi.SecurityContext(usage="accept", creds=creds, channel_bindings=binding())
            out = self.context.step(token)
            # An error of a step is told by what is asked next.
            complete = self.context.complete
        except gssapi.exceptions.GSSError:
            self.context = None
            return self.answer(401, [("WWW-Authenticate", "Negotiate")])
        said = [("WWW-Authenticate", "Negotiate " + base64.b64encode(out).decode())] if out else []
        self.answer(200 if complete else 401, said)

    def sealed(self, body):
        head, rest = body.split(b"application/octet-stream\r\n", 1)
        length = int(re.search(rb"Length=(\d+)", head).group(1))
        sealed = rest[: rest.rindex(b"--Encrypted Boundary--")]
        size = int.from_bytes(sealed[:4], "little")
        plain, is_sealed, _ = self.context.unwrap(sealed[4:])
        header = 60 if KERBEROS else 16
        assert is_sealed and len(plain) == length and size == header, (is_sealed, len(plain), length, size)
        back = plain[::-1]
        token = self.wrapped(back)
        answer = b"".join(
            [
                b"--Encrypted Boundary\r\n",
                TAB + b"Content-Type: application/HTTP-SPNEGO-session-encrypted\r\n",
                TAB + b"OriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n" % len(back),
                b"--Encrypted Boundary\r\n",
                TAB + b"Content-Type: application/octet-stream\r\n",
                header.to_bytes(4, "little") + token,
                b"--Encrypted Boundary--\r\n",
            ]
        )
        self.answer(200, [("Content-Type", KIND)], answer)

    def wrapped(self, plain):
        if not IOV:
            token = self.context.wrap(plain, True).message
            assert not KERBEROS or token[6:8] == bytes([0, 0]), token[:16]
            return token
        kinds = gssapi.raw.IOVBufferType
        message = gssapi.raw.IOV(kinds.header, (kinds.data, False, plain), kinds.padding, std_layout=False)
        gssapi.raw.wrap_iov(self.context, message, True)
        token = b"".join(part.value or b"" for part in message)
        assert token[6:8] == bytes([0, 28]), token[:16]
        return token


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
if TLS:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(TLS[0])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
