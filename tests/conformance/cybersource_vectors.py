"""Signs what stands on the standard input as CyberSource's SDK does, at a given time.

In: `{"host", "path", "body", "seconds"}`. Out: `{"claims", "signature", "digest"}`, and with `token` in the input
whether the SDK's own library takes that token as signed.
"""

import base64
import json
import sys
import time
from types import SimpleNamespace

import CyberSource  # noqa: F401  (its modules import each other: this order works)
from authenticationsdk.http.HTTPSignatureToken import HTTPSignatureToken
from authenticationsdk.jwt.Token import JwtSignatureToken
from jwcrypto import jwk, jwt

asked = json.load(sys.stdin)
SECRET = "aHVzaHBhZC1zYW5kYm94LXNoYXJlZC1zZWNyZXQtMzI="
time.time = lambda: asked["seconds"]
config = SimpleNamespace(
    use_metakey=False,
    merchant_id="sandbox_merchant",
    merchant_keyid="sandbox-key",
    merchant_secretkey=SECRET,
    request_host=asked["host"],
    run_environment=asked["host"],
)

signing = JwtSignatureToken()
signing.jwt_signature_token(config, None, "POST", asked["path"], asked["body"])
claims = signing.get_payload_claim_set()

date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(asked["seconds"]))
header = HTTPSignatureToken()
header.http_signature_token(config, date, "POST", asked["path"], asked["body"])

key = jwk.JWK(kty="oct", k=base64.urlsafe_b64encode(base64.b64decode(SECRET)).decode().rstrip("="))
taken = jwt.JWT(jwt=asked["token"], key=key, check_claims={"exp": asked["seconds"]})
print(
    json.dumps(
        {
            "claims": claims,
            "signature": header.get_token(),
            "date": date,
            "theirs": json.loads(taken.claims),
            "head": json.loads(taken.header),
        }
    )
)
