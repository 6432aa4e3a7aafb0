//! The SIP stack behind our own dialog types.
