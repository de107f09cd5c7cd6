"""One connection: ICE, DTLS and SCTP, and consent to send."""
