"""A life of a machine by pypsrp, which others wrote: with_pypsrp.py HTTP-PORT HTTPS-PORT CERTIFICATE PASSWORD.

Over HTTP what is sent is sealed, over HTTPS the login is bound to the certificate. Whatever is not as it should be raises.
"""

import os
import sys
import time
import xml.etree.ElementTree as ET

from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.wsman import NAMESPACES, SelectorSet, WSMan, WSManAction

HTTP, HTTPS, CERTIFICATE, PASSWORD = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
V2 = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/virtualization/v2"
SERVICE = "Msvm_VirtualSystemManagementService"
N = "{http://schemas.xmlsoap.org/ws/2004/09/enumeration}"
W = "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"


def client(**settings):
    wanted = {"ssl": False, "port": HTTP, "auth": "ntlm", "encryption": "always", "username": "HV7\\op"}
    wanted.update(settings)
    return WSMan("127.0.0.1" if not wanted["ssl"] else "localhost", password=wanted.pop("password", PASSWORD), **wanted)


def selectors(**keys):
    chosen = SelectorSet()
    for name, value in keys.items():
        chosen.add_option(name, value)
    return chosen


def rows(wsman, query, page=2):
    uri = f"{V2}/*"
    ask = ET.Element(N + "Enumerate")
    ET.SubElement(ask, W + "OptimizeEnumeration")
    ET.SubElement(ask, W + "MaxElements").text = str(page)
    ET.SubElement(ask, W + "Filter", Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL").text = query
    answer = wsman.enumerate(uri, ask).find(N + "EnumerateResponse")
    found = list(answer.find(W + "Items"))
    ended = answer.find(W + "EndOfSequence") is not None
    while not ended:
        pull = ET.Element(N + "Pull")
        ET.SubElement(pull, N + "EnumerationContext").text = answer.find(N + "EnumerationContext").text
        ET.SubElement(pull, N + "MaxElements").text = str(page)
        answer = wsman.pull(uri, pull).find(N + "PullResponse")
        found += list(answer.find(N + "Items"))
        ended = answer.find(N + "EndOfSequence") is not None
    return found


def invoke(wsman, name, method, keys, **parameters):
    uri = f"{V2}/{name}"
    ask = ET.Element(f"{{{uri}}}{method}_INPUT")
    for parameter, value in parameters.items():
        element = ET.SubElement(ask, f"{{{uri}}}{parameter}")
        if isinstance(value, str):
            element.text = value
        else:
            element.extend(value)
    answer = wsman.invoke(f"{uri}/{method}", uri, ask, selector_set=selectors(**keys))
    return answer.find("s:Body", namespaces=NAMESPACES).find(f"{{{uri}}}{method}_OUTPUT"), f"{{{uri}}}"


def done(wsman, output, p):
    """Waits for the job that a method may have begun."""
    if output.find(p + "ReturnValue").text == "0":
        return
    assert output.find(p + "ReturnValue").text == "4096", ET.tostring(output)
    job = output.find(p + "Job")
    uri = job.find(f"{A}ReferenceParameters/{W}ResourceURI").text
    keys = {key.get("Name"): key.text for key in job.iter(W + "Selector")}
    for _ in range(300):
        row = wsman.get(uri, selector_set=selectors(**keys))[0]
        if row.find(f"{{{uri}}}JobState").text == "7":
            return
        time.sleep(0.1)
    raise AssertionError(ET.tostring(row))


def fault(error, what):
    try:
        what()
    except error as raised:
        return raised
    raise AssertionError(f"{what} was not refused")


def names(wsman):
    machine = f"{{{V2}/Msvm_ComputerSystem}}"
    found = rows(wsman, "SELECT * FROM Msvm_ComputerSystem WHERE Name != __SERVER")
    assert all(row.tag == machine + "Msvm_ComputerSystem" for row in found), found
    return [row.find(machine + "ElementName").text for row in found]


def life(wsman):
    # It asks for the settings by itself: a Get on winrm/config.
    wsman.update_max_payload_size()
    assert wsman.max_envelope_size == 500 * 1024, wsman.max_envelope_size
    before = names(wsman)
    settings = (
        '<INSTANCE CLASSNAME="Msvm_VirtualSystemSettingData"><PROPERTY NAME="ElementName" TYPE="string">'
        "<VALUE>R&#38;D \N{GREEK SMALL LETTER OMEGA}</VALUE></PROPERTY></INSTANCE>"
    )
    service = {"CreationClassName": SERVICE}
    output, p = invoke(wsman, SERVICE, "DefineSystem", service, SystemSettings=settings)
    done(wsman, output, p)
    made = output.find(p + "ResultingSystem")
    keys = {key.get("Name"): key.text for key in made.iter(W + "Selector")}
    uri = made.find(f"{A}ReferenceParameters/{W}ResourceURI").text
    row = wsman.get(uri, selector_set=selectors(**keys))[0]
    assert row.find(f"{{{uri}}}ElementName").text == "R&D \N{GREEK SMALL LETTER OMEGA}", ET.tostring(row)
    assert names(wsman) == before + ["R&D \N{GREEK SMALL LETTER OMEGA}"]
    output, p = invoke(wsman, SERVICE, "DestroySystem", service, AffectedSystem=list(made))
    done(wsman, output, p)
    wrapper = ET.Element(A + "EndpointReference")
    wrapper.extend(made)
    refused = fault(
        WSManFaultError, lambda: invoke(wsman, SERVICE, "DestroySystem", service, AffectedSystem=[wrapper])
    )
    assert refused.code == 2150858817, refused
    gone = fault(WSManFaultError, lambda: wsman.get(uri, selector_set=selectors(**keys)))
    assert gone.code == "a:DestinationUnreachable", gone
    # A large request and a large answer are sealed in one piece each.
    long = "x" * 200_000
    assert rows(wsman, f"SELECT * FROM Msvm_ComputerSystem WHERE ElementName = '{long}'") == []


for auth in ("ntlm", "negotiate"):
    with client(auth=auth) as wsman:
        life(wsman)
os.environ["REQUESTS_CA_BUNDLE"] = CERTIFICATE
with client(ssl=True, port=HTTPS, encryption="auto", cert_validation=CERTIFICATE) as wsman:
    life(wsman)
fault(AuthenticationError, lambda: names(client(password="other")))
unsealed = fault(WinRMTransportError, lambda: names(client(encryption="never")))
assert unsealed.code == 500 and not unsealed.response_text, unsealed
print("pypsrp: done")
