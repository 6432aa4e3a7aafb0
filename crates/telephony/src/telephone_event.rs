//! RFC 4733 telephone-events: packets in, key presses out.
