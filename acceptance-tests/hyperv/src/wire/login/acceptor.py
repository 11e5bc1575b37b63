"""Takes logins and seals for a server, by hands that are not ours: python3-gssapi over gss-ntlmssp.

Reads requests, one a line as JSON, and answers each with a line:
  step    a token of a client: the token to send back, whether the login is complete, and who it is
  unwrap  a sealed message: what is in it
  wrap    a message: sealed
  drop    a login that is over
Users are in the file that NTLM_USER_FILE names.
"""

import base64
import hashlib
import json
import struct
import sys

import gssapi

SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
NTLM = gssapi.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
logins = {}


def bindings_hash(data):
    """MD5 of gss_channel_bindings_struct, as NTLM carries it: MS-NLMP 2.2.2.1."""
    return hashlib.md5(struct.pack("<IIIII", 0, 0, 0, 0, len(data)) + data).digest()


def claimed(token):
    """The channel binding that an AUTHENTICATE message carries; None where the token holds no such message."""
    at = token.find(b"NTLMSSP\0\x03\0\0\0")
    if at < 0:
        return None
    message = token[at:]
    length, _, offset = struct.unpack_from("<HHI", message, 20)
    pairs = message[offset + 16 + 28 : offset + length]
    while len(pairs) >= 4:
        kind, size = struct.unpack_from("<HH", pairs)
        if kind == 10:
            return pairs[4 : 4 + size]
        if kind == 0:
            break
        pairs = pairs[4 + size :]
    return bytes(16)


def step(ask):
    token = base64.b64decode(ask["token"])
    data = b"tls-server-end-point:" + bytes.fromhex(ask["binding"]) if ask.get("binding") else None
    strict = data is not None and ask["hardening"] == "strict"
    login = logins.get(ask["id"])
    if login is None:
        credentials = gssapi.Credentials(usage="accept", mechs=[SPNEGO, NTLM])
        bindings = gssapi.raw.ChannelBindings(application_data=data) if strict else None
        login = gssapi.SecurityContext(usage="accept", creds=credentials, channel_bindings=bindings)
        logins[ask["id"]] = login
    said = claimed(token)
    if data is not None and said is not None and ask["hardening"] != "none":
        if strict and said != bindings_hash(data) or any(said) and said != bindings_hash(data):
            raise PermissionError("the login is bound to another certificate, or to none")
    out = login.step(token)
    answer = {"token": base64.b64encode(out).decode() if out else None, "complete": login.complete}
    if login.complete:
        # gss-ntlmssp counts the end of the name in.
        answer["user"] = str(login.initiator_name).rstrip("\0")
    return answer


def unwrap(ask):
    plain, sealed, _ = logins[ask["id"]].unwrap(base64.b64decode(ask["data"]))
    if not sealed:
        raise PermissionError("signed, and not sealed")
    return {"data": base64.b64encode(plain).decode()}


def wrap(ask):
    token = logins[ask["id"]].wrap(base64.b64decode(ask["data"]), True).message
    return {"data": base64.b64encode(token).decode()}


def drop(ask):
    logins.pop(ask["id"], None)
    return {}


for line in sys.stdin:
    ask = json.loads(line)
    try:
        answer = {"step": step, "unwrap": unwrap, "wrap": wrap, "drop": drop}[ask["op"]](ask)
    except Exception as error:  # a login that fails is an answer
        logins.pop(ask["id"], None)
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
