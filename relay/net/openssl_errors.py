"""OpenSSL's errors are put into words here, for whoever runs a node."""

import ssl


def in_words(error: Exception) -> str:
    """Say in a few words what went wrong with TLS, or with a file of keys or certificates.

    Where OpenSSL gives no reason, or only that it found nothing of use, the file held something else than PEM.
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
