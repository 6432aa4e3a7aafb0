//! Calls with our own phone: secure mode, the RFC 4475 messages, going down.
