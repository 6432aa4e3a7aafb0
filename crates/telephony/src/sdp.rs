//! SDP offers and answers (RFC 3264).
