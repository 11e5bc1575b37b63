#!/usr/bin/env python3
"""A small IPAM behind hooks of labyard: hands an address out when a machine is made, and takes it back when it goes.

    ipam.py --listen 127.0.0.1:8053 --network lab --range 10.77.0.10-10.77.0.99 --state ipam.json --key-file key

It answers two moments of a machine (docs/guides/hooks.md):

    before:define             acquire an address for each NIC on the network; answered with {"set": {"addresses": …}}
    after:release_addresses   give back whatever the machine has

Both may be asked more than once: a run that was killed is asked again under the same idempotency key. So a machine is
known by its id, an address that it has is handed out to it again, and giving back twice is giving back once.

GET /addresses shows who has what, GET /log what was done. Python 3, nothing else.
"""

import argparse
import hashlib
import hmac
import ipaddress
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A request whose signature is older than this is somebody's copy.
MAX_AGE_SECONDS = 300


class Ipam:
    """Addresses by machine and NIC, in a file that is replaced as a whole at each change."""

    def __init__(self, path, network, first, last):
        self.path, self.network = path, network
        self.first, self.last = ipaddress.ip_address(first), ipaddress.ip_address(last)
        self.lock = threading.Lock()
        self.state = {"addresses": {}, "log": []}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.state = json.load(file)

    def acquire(self, machine, name, nics):
        """An address for each of the machine's NICs on the network: the one it has, else the first free one."""
        with self.lock:
            given = {}
            for nic in sorted(key for key, value in nics.items() if value["network"] == self.network):
                owner = f"{machine}/{nic}"
                address = next((a for a, who in self.state["addresses"].items() if who["owner"] == owner), None)
                if address is None:
                    address = self.free()
                    if address is None:
                        return None
                    self.state["addresses"][address] = {"owner": owner, "name": name}
                    self.note("acquired", address, name)
                given[nic] = address
            self.save()
            return given

    def release(self, machine):
        """Gives back all that the machine has; nothing is fine."""
        with self.lock:
            mine = [a for a, who in self.state["addresses"].items() if who["owner"].split("/")[0] == machine]
            for address in mine:
                name = self.state["addresses"].pop(address)["name"]
                self.note("released", address, name)
            self.save()

    def free(self):
        candidates = range(int(self.first), int(self.last) + 1)
        addresses = (str(ipaddress.ip_address(number)) for number in candidates)
        return next((a for a in addresses if a not in self.state["addresses"]), None)

    def note(self, what, address, name):
        self.state["log"].append({"what": what, "address": address, "name": name})

    def save(self):
        new = f"{self.path}.new"
        with open(new, "w", encoding="utf-8") as file:
            json.dump(self.state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)


def signed(key, header, body, now):
    """Whether the body was signed by somebody who has the key, and lately."""
    parts = dict(part.split("=", 1) for part in (header or "").split(",") if "=" in part)
    stamp = parts.get("t", "")
    if not stamp.isdigit() or abs(now - int(stamp)) > MAX_AGE_SECONDS:
        return False
    wanted = hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, parts.get("v1", ""))


def answer(ipam, request):
    """What is answered to a request: nothing is "go on"."""
    moment = f'{request["when"]}:{request["stage"]}'
    machine = request["machine"]
    if moment in ("before:addresses", "before:define"):
        given = ipam.acquire(machine["id"], request["name"], machine["nics"])
        if given is None:
            return {"deny": {"reason": f"no address is free on network {ipam.network}"}}
        return {"set": {"addresses": given}} if given else {}
    if moment == "after:release_addresses":
        ipam.release(machine["id"])
    return {}


class Handler(BaseHTTPRequestHandler):
    ipam, key = None, None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.key and not signed(self.key, self.headers.get("Labyard-Signature"), body, time.time()):
            return self.say(401, {"error": "the signature is missing, wrong or old"})
        try:
            request = json.loads(body)
            if request["version"] != 1:
                return self.say(400, {"error": "only version 1 of the protocol is known here"})
            result = answer(self.ipam, request)
        except (ValueError, KeyError, TypeError) as error:
            return self.say(400, {"error": f"the request is not understood: {error}"})
        return self.say(200, result)

    def do_GET(self):
        part = {"/addresses": "addresses", "/log": "log"}.get(self.path)
        if part is None:
            return self.say(404, {"error": "there are /addresses and /log"})
        with self.ipam.lock:
            return self.say(200, self.ipam.state[part])

    def say(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *arguments):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:8053", help="address and port; port 0 takes a free one")
    parser.add_argument("--network", required=True, help="the network of the NICs that get addresses")
    parser.add_argument("--range", required=True, help="first and last address, FIRST-LAST")
    parser.add_argument("--state", required=True, help="file of the addresses that are given out")
    parser.add_argument("--key-file", help="file with the key that requests are signed with")
    options = parser.parse_args()
    first, last = options.range.split("-")
    Handler.ipam = Ipam(options.state, options.network, first, last)
    if options.key_file:
        with open(options.key_file, "rb") as file:
            Handler.key = file.readline().strip()
    host, port = options.listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"listening on http://{host}:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
