"""RS256: the same signatures as others make and take, by RFC 7515's own example and by OpenSSL."""

import base64
import json
import subprocess
from pathlib import Path

import jwt
import pytest
from Cryptodome.PublicKey import ECC, RSA

from functions.shared.rs256 import RS256, key_of

# https://www.rfc-editor.org/rfc/rfc7515#appendix-A.2
N = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"
    "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2"
    "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD"
    "TW9gb54h4FRWyuXpoQ"
)
EXAMPLE = (
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
    "cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9u"
    "JdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383L"
    "cOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmt"
    "VrBp0igcN_IoypGlUPQGe77Rw"
)


def openssl(*arguments: object, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], input=given, check=True, capture_output=True).stdout


def test_the_example_of_the_standard_is_good_and_no_other():
    public = RS256.from_jwk({"kty": "RSA", "n": N, "e": "AQAB"})
    options = {"verify_exp": False}

    assert jwt.decode(EXAMPLE, public, ["RS256"], options)["iss"] == "joe"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(EXAMPLE.replace("Rw", "Rg"), public, ["RS256"], options)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(EXAMPLE.replace(".cC4h", ".dC4h"), public, ["RS256"], options)


def test_openssl_takes_what_is_signed(foreign_key, tmp_path: Path):
    head, body, signature = jwt.encode({"a": 1}, foreign_key, "RS256").split(".")
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(signature + "=="))
    (tmp_path / "public.pem").write_bytes(foreign_key.public_key().export_key())

    check = ("dgst", "-sha256", "-verify", tmp_path / "public.pem", "-signature", tmp_path / "signature")
    assert openssl(*check, given=f"{head}.{body}".encode()) == b"Verified OK\n"


def test_what_openssl_signs_is_taken(tmp_path: Path):
    (tmp_path / "key.pem").write_bytes(openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
    public = openssl("pkey", "-in", tmp_path / "key.pem", "-pubout").decode()
    said = EXAMPLE.rpartition(".")[0]
    signature = openssl("dgst", "-sha256", "-sign", tmp_path / "key.pem", given=said.encode())
    token = f"{said}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    assert jwt.decode(token, public, ["RS256"], {"verify_exp": False})["iss"] == "joe"
    pem = (tmp_path / "key.pem").read_text()
    assert key_of(pem).export_key(pkcs=8).decode() + "\n" == pem


def test_a_signature_of_another_length_is_none(foreign_key):
    head, body, signature = jwt.encode({"a": 1}, foreign_key, "RS256").split(".")
    good = base64.urlsafe_b64decode(signature + "==")
    for other in (b"", good[:-1], good + b"\0", b"\0" + good, good * 100):
        token = f"{head}.{body}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}"
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token, foreign_key.public_key(), ["RS256"])


def test_a_public_key_as_json_is_read_again(foreign_key):
    public = foreign_key.public_key()

    assert RS256.from_jwk(RS256.to_jwk(public)) == public
    assert json.loads(RS256.to_jwk(public)) == RS256.to_jwk(public, as_dict=True)


@pytest.mark.parametrize(
    ("pem", "what"),
    [
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "as PEM, got something else"),
        ("-----BEGIN PUBLIC KEY-----\nbm8ga2V5\n-----END PUBLIC KEY-----", "as PEM, got something else"),
        ("nonsense", "as PEM, got something else"),
        ("", "as PEM, got something else"),
        (ECC.generate(curve="P-256").public_key().export_key(format="PEM"), "as PEM, got something else"),
        (RSA.generate(1024).public_key().export_key().decode(), "at least 2048 bits, got one of 1024"),
    ],
    ids=["empty", "no DER", "no PEM", "nothing", "an elliptic curve", "too short"],
)
def test_what_is_no_good_key_is_refused(pem, what):
    with pytest.raises(ValueError, match=what):
        key_of(pem)
