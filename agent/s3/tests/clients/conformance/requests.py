"""Requests made by hand, so that single parts of them can be wrong."""

import datetime
import hashlib
import hmac
import http.client
import ssl
import urllib.parse

from conformance.service import CA, KEYS, REGION, URL, same


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def code(self):
        text = self.body.decode(errors="replace")
        return text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else ""

    def expect(self, status, code=""):
        same((self.status, self.code), (status, code), f"answer {self.body[:200]!r}")
        return self


def connect():
    if URL.scheme == "https":
        context = ssl.create_default_context(cafile=None if CA in (None, "none") else CA)
        if CA == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(URL.hostname, URL.port or 443, timeout=60, context=context)
    return http.client.HTTPConnection(URL.hostname, URL.port or 80, timeout=60)


def send(method, path, headers=(), body=b"", host=None):
    """Sends exactly this. `path` is encoded already."""
    link = connect()
    try:
        link.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        link.putheader("Host", host or URL.netloc)
        for name, value in dict(headers).items():
            link.putheader(name, value)
        if "content-length" not in {name.lower() for name in dict(headers)} and (
            body or method in ("PUT", "POST")
        ):
            link.putheader("Content-Length", str(len(body)))
        link.endheaders()
        link.send(body)
        return Answer(link.getresponse())
    finally:
        link.close()


def now(shift=0):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)
    return moment.strftime("%Y%m%dT%H%M%SZ")


def keyed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, date, region, service="s3"):
    return keyed(keyed(keyed(keyed(("AWS4" + secret).encode(), date), region), service), "aws4_request")


class Signer:
    """Signature Version 4 by hand, so that single parts of it can be wrong."""

    def __init__(self, keys=KEYS, date=None, region=REGION, service="s3"):
        self.access, self.secret = keys
        self.date = date or now()
        self.scope = f"{self.date[:8]}/{region}/{service}/aws4_request"
        self.key = signing_key(self.secret, self.date[:8], region, service)

    def sign(self, method, path, headers, payload, leave_out=()):
        target, _, query = path.partition("?")
        pairs = sorted(tuple(part.partition("=")[::2]) for part in query.split("&") if part)
        lower = {name.lower(): value for name, value in headers.items()}
        names = sorted(name for name in lower if name not in leave_out)
        canonical = "\n".join(
            [method, target, "&".join(f"{name}={value}" for name, value in pairs)]
            + [f"{name}:{' '.join(lower[name].split())}" for name in names]
            + ["", ";".join(names), payload]
        )
        return ";".join(names), self.signature(
            ["AWS4-HMAC-SHA256", self.date, self.scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )

    def signature(self, lines):
        return keyed(self.key, "\n".join(lines)).hex()

    def headers(self, method, path, payload, extra=(), host=None, leave_out=()):
        headers = {"host": host or URL.netloc, "x-amz-date": self.date}
        headers["x-amz-content-sha256"] = payload
        headers.update(dict(extra))
        names, signature = self.sign(method, path, headers, payload, leave_out)
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{self.scope}, SignedHeaders={names}, "
            f"Signature={signature}"
        )
        self.seed = signature
        del headers["host"]
        return headers

    def presigned(self, method, path, expires, extra=()):
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access}/{self.scope}",
            "X-Amz-Date": self.date,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": "host",
        }
        query.update(dict(extra))
        text = urllib.parse.urlencode(query, quote_via=urllib.parse.quote, safe="")
        _, signature = self.sign(method, f"{path}?{text}", {"host": URL.netloc}, "UNSIGNED-PAYLOAD")
        return f"{path}?{text}&X-Amz-Signature={signature}"


def signed(method, path, body=b"", extra=(), signer=None, payload=None, leave_out=(), host=None):
    signer = signer or Signer()
    payload = payload or hashlib.sha256(body).hexdigest()
    headers = signer.headers(method, path, payload, extra, leave_out=leave_out, host=host)
    return send(method, path, headers, body, host=host)


def unsigned_chunks(pieces, trailers):
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    lines = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
    return body + b"0\r\n" + lines.encode() + b"\r\n"


def put_with_trailer(path, pieces, announced, trailers, decoded=None):
    body = unsigned_chunks(pieces, trailers)
    decoded = sum(map(len, pieces)) if decoded is None else decoded
    extra = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(decoded),
        "x-amz-trailer": announced,
        "content-length": str(len(body)),
    }
    return signed("PUT", path, body, extra, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")


def put_signed_chunks(path, pieces, trailers=None, spoil=None):
    """PUT in signed chunks; `spoil` names what is to be wrong: a chunk's number or "trailer"."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailers else "")
    signer = Signer()
    decoded = sum(map(len, pieces))
    lines = "".join(f"{name}:{value}\n" for name, value in (trailers or {}).items())
    extra = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(decoded)}
    if trailers:
        extra["x-amz-trailer"] = ",".join(trailers)
    headers = signer.headers("PUT", path, kind, extra)
    previous, body, nothing = signer.seed, b"", hashlib.sha256(b"").hexdigest()
    for number, piece in enumerate(list(pieces) + [b""]):
        previous = signer.signature(
            ["AWS4-HMAC-SHA256-PAYLOAD", signer.date, signer.scope, previous, nothing,
             hashlib.sha256(piece).hexdigest()]
        )
        shown = previous if spoil != number else "0" * 64
        body += f"{len(piece):x};chunk-signature={shown}\r\n".encode()
        if piece or not trailers:
            body += piece + b"\r\n"
    if trailers:
        last = signer.signature(
            ["AWS4-HMAC-SHA256-TRAILER", signer.date, signer.scope, previous,
             hashlib.sha256(lines.encode()).hexdigest()]
        )
        shown = last if spoil != "trailer" else "0" * 64
        body += lines.replace("\n", "\r\n").encode()
        body += f"x-amz-trailer-signature:{shown}\r\n\r\n".encode()
    headers["content-length"] = str(len(body))
    return send("PUT", path, headers, body)
