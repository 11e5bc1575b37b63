"""What pywinrm, which others wrote, sees: with_pywinrm.py HTTP-PORT HTTPS-PORT CERTIFICATE PASSWORD.

It has no verbs for objects, so that the envelopes are written here; its transport, its login and its seals are what is tried.
"""

import sys
import xml.etree.ElementTree as ET

from winrm.exceptions import InvalidCredentialsError, WinRMError, WinRMOperationTimeoutError, WinRMTransportError
from winrm.protocol import Protocol

HTTP, HTTPS, CERTIFICATE, PASSWORD = sys.argv[1:5]
ENUMERATE = """<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"
 xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"><s:Header><a:To>http://host/wsman</a:To>
 <w:ResourceURI s:mustUnderstand="true">http://schemas.microsoft.com/wbem/wsman/1/wmi/root/virtualization/v2/*</w:ResourceURI>
 <a:ReplyTo><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>
 <a:Action s:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate</a:Action>
 <a:MessageID>uuid:11111111-2222-3333-4444-555555555555</a:MessageID></s:Header><s:Body><n:Enumerate>
 <w:OptimizeEnumeration/><w:MaxElements>100</w:MaxElements>
 <w:Filter Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL">%s</w:Filter></n:Enumerate></s:Body></s:Envelope>"""


def client(endpoint=f"http://127.0.0.1:{HTTP}/wsman", password=PASSWORD, **settings):
    settings.setdefault("message_encryption", "always")
    return Protocol(endpoint, transport="ntlm", username="HV7\\op", password=password, **settings)


def names(protocol, condition="Name != __SERVER"):
    query = f"SELECT ElementName FROM Msvm_ComputerSystem WHERE {condition}"
    answer = ET.fromstring(protocol.send_message(ENUMERATE % query))
    return [name.text for name in answer.iter("ElementName")]


def fault(error, what):
    try:
        what()
    except error as raised:
        return raised
    raise AssertionError("it was not refused")


sealed = client()
for _ in range(5):
    found = names(sealed)
    assert found == ["web-01", "web-02"], found
refused = fault(WinRMError, lambda: names(sealed, "Colour = 1"))
assert "n:CannotProcessFilter" in str(refused), refused
over_tls = {
    "endpoint": f"https://localhost:{HTTPS}/wsman",
    "message_encryption": "auto",
    "ca_trust_path": CERTIFICATE,
}
assert names(client(**over_tls)) == ["web-01", "web-02"]
# The host wants logins bound to its certificate where they come over TLS.
fault(InvalidCredentialsError, lambda: names(client(send_cbt=False, **over_tls)))
fault(InvalidCredentialsError, lambda: names(client(password="other")))
unsealed = fault(WinRMTransportError, lambda: names(client(message_encryption="never")))
assert unsealed.code == 500, unsealed
print("pywinrm: done")
