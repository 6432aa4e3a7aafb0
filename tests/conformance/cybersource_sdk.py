"""CyberSource's own SDK against the simulator: `cybersource_sdk.py http://HOST:PORT jwt|http_signature`.

Sale, authorisation, capture, refund, void, reversal, search: each answer must be what the SDK's users expect.
"""

import json
import sys
import time

from CyberSource import *  # noqa: F403  (the SDK has hundreds of model classes)
from CyberSource.api_client import ApiClient

URL, AUTHENTICATION = sys.argv[1:3]
ApiClient.get_client_id = lambda self: "x"  # it looks itself up by pkg_resources, which is gone

CONFIG = {
    "authentication_type": AUTHENTICATION,
    "merchantid": "sandbox_merchant",
    "run_environment": "apitest.cybersource.com",
    "IntermediateHost": URL,
    "merchant_keyid": "sandbox-key",
    "merchant_secretkey": "aHVzaHBhZC1zYW5kYm94LXNoYXJlZC1zZWNyZXQtMzI=",
    "jwt_key_type": "SHARED_SECRET",
    "timeout": 1000,
}
CODE = iter(range(1, 1000))


def text(model):
    """As the SDK's own samples hand a model over: as JSON text, without what is not set."""

    def given(value):
        return {k: given(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value

    return json.dumps(given(model.to_dict()))


def amount(total):
    return Ptsv2paymentsOrderInformationAmountDetails(total_amount=total, currency="GBP")


def payment(total, capture):
    code = f"sdk-{AUTHENTICATION}-{next(CODE)}"
    return CreatePaymentRequest(
        client_reference_information=Ptsv2paymentsClientReferenceInformation(code=code, transaction_id=code),
        processing_information=Ptsv2paymentsProcessingInformation(capture=capture, commerce_indicator="moto"),
        order_information=Ptsv2paymentsOrderInformation(amount_details=amount(total)),
        payment_information=Ptsv2paymentsPaymentInformation(
            card=Ptsv2paymentsPaymentInformationCard(
                number="4111111111111111", expiration_month="12", expiration_year="2031", security_code="123"
            )
        ),
    ), code


def told(answer, status, word):
    """The SDK gives the model, the HTTP status and the text; the text is what its users read."""
    _, code, text = answer
    body = json.loads(text) if isinstance(text, (str, bytes)) else text
    assert (code, body.get("status")) == (status, word), (code, body)
    return body


def pay(total, capture, word="AUTHORIZED"):
    request, code = payment(total, capture)
    return told(PaymentsApi(CONFIG).create_payment(text(request)), 201, word), code


sold, sale = pay("12.40", True)
refund = RefundPaymentRequest(
    client_reference_information=Ptsv2paymentsClientReferenceInformation(code="refund"),
    order_information=Ptsv2paymentsidrefundsOrderInformation(amount_details=amount("4.00")),
)
told(RefundApi(CONFIG).refund_payment(text(refund), sold["id"]), 201, "PENDING")

authorised, authorisation = pay("12.40", False)
capture = CapturePaymentRequest(
    client_reference_information=Ptsv2paymentsClientReferenceInformation(code="capture"),
    order_information=Ptsv2paymentsidcapturesOrderInformation(amount_details=amount("10.00")),
)
captured = told(CaptureApi(CONFIG).capture_payment(text(capture), authorised["id"]), 201, "PENDING")
void = VoidCaptureRequest(client_reference_information=Ptsv2paymentsClientReferenceInformation(code="void"))
told(VoidApi(CONFIG).void_capture(text(void), captured["id"]), 201, "VOIDED")
reversal = AuthReversalRequest(
    client_reference_information=Ptsv2paymentsClientReferenceInformation(code="reversal"),
    reversal_information=Ptsv2paymentsidreversalsReversalInformation(
        amount_details=Ptsv2paymentsidreversalsReversalInformationAmountDetails(total_amount="12.40")
    ),
)
told(ReversalApi(CONFIG).auth_reversal(authorised["id"], text(reversal)), 201, "REVERSED")

_, lost = pay("7.00", True)
by_reference = MitVoidRequest(
    client_reference_information=Ptsv2paymentsClientReferenceInformation(code="lost", transaction_id=lost)
)
told(VoidApi(CONFIG).mit_void(text(by_reference)), 201, "VOIDED")
_, lost = pay("8.00", False)
by_reference = MitReversalRequest(
    client_reference_information=Ptsv2paymentsClientReferenceInformation(code="lost", transaction_id=lost)
)
told(ReversalApi(CONFIG).mit_reversal(text(by_reference)), 201, "REVERSED")

declined, _ = pay("66.02", True, "DECLINED")
assert declined["errorInformation"]["reason"] == "INSUFFICIENT_FUND", declined

search = CreateSearchRequest(
    save=False, timezone="UTC", query=f"clientReferenceInformation.code:{sale}", offset=0, limit=20
)
_, status, text = SearchTransactionsApi(CONFIG).create_search(text(search))
found = json.loads(text)
assert (status, found["totalCount"]) == (201, 1), found
assert found["_embedded"]["transactionSummaries"][0]["id"] == sold["id"], found
print(json.dumps({"sale": sale, "authorisation": authorisation, "at": int(time.time())}))
