"""Puts OpenSSL's errors into words for operators."""

import ssl


def tls_error_words(error: Exception) -> str:
    """Return in a few words what went wrong with TLS, or with a file of keys or certificates.

    If OpenSSL gives no reason, or finds nothing usable, the file holds something other than PEM.
    """
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate verify failed: {error.verify_message}"
        case ssl.SSLError(reason="NO_CERTIFICATE_OR_CRL_FOUND"):
            return "it holds no certificate in PEM"
        case ssl.SSLError(reason=str(reason)) if reason:
            return reason.lower().replace("_", " ")
        case ssl.SSLError():
            return "it isn't PEM"
    return str(error)
